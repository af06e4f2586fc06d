FROM alpine
COPY wide /wide
COPY a b sticky /modes/
COPY --chown=1000:1000 wide/f1 /owned
