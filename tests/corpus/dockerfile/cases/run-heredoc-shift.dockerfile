FROM alpine
RUN echo $((1<<4)) <<< word
