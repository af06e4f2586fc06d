FROM alpine
WORKDIR /a
WORKDIR b
WORKDIR ./c/../d
ENV DIR=/from/env
WORKDIR $DIR/path
RUN pwd > /1
WORKDIR "/with quotes"
WORKDIR /srv/old
WORKDIR /dirlink/new
WORKDIR /
RUN pwd > /2
WORKDIR /trailing/
