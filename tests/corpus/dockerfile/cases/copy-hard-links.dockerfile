FROM alpine
COPY wide /w
COPY . /all
