FROM alpine
COPY a b
COPY a b c/ /dest/
COPY  .   .
COPY ["with space", "/dest dir/"]
