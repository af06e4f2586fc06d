FROM alpine
COPY a none* /x/
