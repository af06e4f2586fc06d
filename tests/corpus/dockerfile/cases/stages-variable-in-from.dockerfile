ARG SRC=base
FROM alpine AS base
FROM alpine
COPY --from=$SRC /x /x
