FROM alpine
COPY a /etc/hosts
COPY b /etc/resolv.conf
COPY a /proc/x
COPY a /sys/x
COPY a /dev/x
RUN echo more > /tmp/y
