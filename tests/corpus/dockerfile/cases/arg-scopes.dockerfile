ARG GLOBAL=global
ARG VERSION=1
FROM alpine:$VERSION AS first
ARG GLOBAL
ARG LOCAL=local
RUN echo "$GLOBAL ${VERSION-none} $LOCAL" > /1
FROM first AS second
RUN echo "${GLOBAL-none} ${LOCAL-none}" > /2
FROM alpine
ARG VERSION=2
ARG LOCAL
RUN echo "${GLOBAL-none} $VERSION ${LOCAL-none}" > /3
COPY --from=second /1 /2 /
