FROM alpine
RUN echo "$HTTP_PROXY $https_proxy ${NO_PROXY-none}" > /1
ARG HTTP_PROXY
RUN echo "$HTTP_PROXY" > /2
# flags: --build-arg HTTP_PROXY=http://proxy.example:3128 --build-arg https_proxy=http://proxy.example:3129
