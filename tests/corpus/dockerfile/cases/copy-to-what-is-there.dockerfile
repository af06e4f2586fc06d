FROM alpine
COPY a /x
COPY b /x/
COPY a /x/file
COPY src /x
COPY sticky /srv/old
COPY wide /srv/old/
