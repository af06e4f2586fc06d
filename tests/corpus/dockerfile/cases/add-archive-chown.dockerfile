FROM alpine
ADD --chown=alice:staff archive.tar /owned/
