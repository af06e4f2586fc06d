ARG TAG=1
FROM "alpine:${TAG}" AS x
RUN echo quoted > /1
