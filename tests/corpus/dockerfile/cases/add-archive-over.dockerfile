FROM alpine
RUN mkdir -p /top/other && echo old > /top/file && ln -s / /no
ADD archive.tar /
