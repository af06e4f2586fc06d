FROM alpine
ADD --unpack=false archive.tar /1/
ADD --unpack archive.tar.gz /2/
ADD --unpack=true a /3/
