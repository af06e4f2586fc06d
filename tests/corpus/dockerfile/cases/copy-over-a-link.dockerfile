FROM alpine
COPY a /link
RUN cat /link /x/file > /seen
