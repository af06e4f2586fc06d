FROM alpine
VOLUME /data /log
VOLUME ["/a b", "/c"]
VOLUME ${DATA:-/var}/x
