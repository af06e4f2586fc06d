FROM alpine
RUN --mount=type=bind,target=/x,sizes=3 true
