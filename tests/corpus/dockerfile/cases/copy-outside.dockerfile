FROM alpine
COPY ../../a /1
COPY /b /2
COPY ./src/../a /3
