FROM alpine
RUN echo 0
FROM alpine AS one
COPY --from=0 /a /a
FROM scratch
COPY --from=1 /a /a
COPY --from=busybox:1 /bin/sh /bin/sh
