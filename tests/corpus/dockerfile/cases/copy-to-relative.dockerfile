FROM alpine
WORKDIR /works/here
COPY a .
COPY b ./
COPY a.txt other
COPY src sub/
COPY b.txt ../up
WORKDIR sub
COPY a ..
