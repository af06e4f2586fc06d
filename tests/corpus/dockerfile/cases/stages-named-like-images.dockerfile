FROM alpine AS busybox
RUN echo stage > /mark
FROM scratch
COPY --from=busybox /mark /mark
