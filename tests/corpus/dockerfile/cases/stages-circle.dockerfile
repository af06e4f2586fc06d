FROM alpine AS a
COPY --from=b /x /x
FROM alpine AS b
COPY --from=c /x /x
FROM alpine AS c
COPY --from=a /x /x
