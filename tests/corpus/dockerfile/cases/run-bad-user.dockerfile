FROM alpine
USER nobody-at-all
RUN true
