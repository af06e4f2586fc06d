FROM alpine
RUN --mount=type=secret,id=absent,required true
