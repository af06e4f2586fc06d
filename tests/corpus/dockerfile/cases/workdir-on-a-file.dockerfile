FROM alpine
WORKDIR /x/file
