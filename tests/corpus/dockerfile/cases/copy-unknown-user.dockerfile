FROM alpine
COPY --chown=nobody-at-all a /a
