FROM alpine
RUN --mount=type=tmpfs,target=/t --mount=type=bind,target=/b --mount=type=cache,target=/c,id=several \
    cat /b/a > /t/x && cp /t/x /c/x && cat /c/x > /1
