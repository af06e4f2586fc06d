FROM alpine
COPY src /x/file
