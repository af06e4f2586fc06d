FROM alpine
COPY ignored/x /x/
