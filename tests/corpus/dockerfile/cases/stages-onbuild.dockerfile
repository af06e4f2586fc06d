FROM alpine AS data
FROM alpine AS parent
ONBUILD COPY --from=data /x /x
FROM parent
