FROM alpine
RUN --mount=type=ssh,required true
