FROM alpine AS wanted
ARG TARGETSTAGE
RUN echo "$TARGETSTAGE" > /1
FROM wanted
# flags: --target wanted
