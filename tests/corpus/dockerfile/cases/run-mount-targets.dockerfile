FROM alpine
ARG DIR=/place ID=some
RUN --mount=type=bind,source=src,target=$DIR cat ${DIR}/main.py > /1
RUN --mount=type=cache,id=$ID,target=${DIR:-x} echo x > $DIR/x && cat $DIR/x > /2
