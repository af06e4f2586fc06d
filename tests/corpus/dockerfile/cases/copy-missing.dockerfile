FROM alpine
COPY not-there /x
