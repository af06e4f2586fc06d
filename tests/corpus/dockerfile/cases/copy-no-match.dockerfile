FROM alpine
COPY none* /x/
