FROM alpine
RUN mkdir /place
COPY wide /w
COPY hollow/ /w/f1/
