FROM alpine
RUN --mount=type=tmpfs,target=/x,sharing=private true
