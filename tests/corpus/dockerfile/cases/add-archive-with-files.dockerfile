FROM alpine
ADD a archive.tar.gz src /mixed/
