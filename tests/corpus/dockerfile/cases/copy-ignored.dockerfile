FROM alpine
COPY ignored /i
COPY . /all/
