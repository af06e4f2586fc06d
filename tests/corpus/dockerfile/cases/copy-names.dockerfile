FROM alpine
COPY ["with space", "/a place/"]
COPY ["a", "b", "/json/"]
COPY file-ü /ünïcode/
COPY src/.hidden /.seen
