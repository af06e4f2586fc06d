FROM alpine
COPY a not-there /x/
