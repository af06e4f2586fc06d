FROM alpine AS a
FROM alpine AS b
COPY --from=b /x /x
