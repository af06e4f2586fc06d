FROM alpine AS tools
FROM alpine
RUN --mount=type=bind,from=tools,target=/t /t/go
