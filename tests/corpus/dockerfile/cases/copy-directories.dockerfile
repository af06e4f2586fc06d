FROM alpine
COPY src /one
COPY src/ /two/
COPY src/. /three
COPY src/deep/.. /four/
COPY hollow /five
COPY hollow /six/seven/
COPY hollow sticky /eight/
