FROM alpine AS ok
FROM ${MISSING}
