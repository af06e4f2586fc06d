FROM alpine
ADD a /1
ADD src /2
ADD *.txt /3/
ADD --chown=alice --chmod=640 a /4
WORKDIR /w
ADD a b ./
