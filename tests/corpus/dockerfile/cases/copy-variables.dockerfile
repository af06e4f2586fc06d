FROM alpine
COPY --chown=$USER:${GROUP:-staff} ${SRC}/* "/opt/$NAME"/
