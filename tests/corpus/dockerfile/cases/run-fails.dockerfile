FROM alpine
RUN exit 3
