FROM alpine
WORKDIR /w
ADD archive.tar .
ADD archive.tar sub
