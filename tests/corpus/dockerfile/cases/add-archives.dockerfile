FROM alpine
ADD archive.tar /plain
ADD archive.tar.gz /gzip/
ADD archive.tar.bz2 /bzip2/
ADD archive.txz /xz/
ADD disguised /disguised/
ADD fake.tar.gz /fake/
ADD archive.tar /srv/
