FROM alpine
RUN --network=none echo none > /1
RUN --network=default echo default > /2
