FROM alpine
VOLUME /data
VOLUME /one /two
VOLUME ["/json", "/with space"]
RUN mkdir -p /data && echo kept > /data/f
ENV D=/env
VOLUME $D/x
VOLUME relative
