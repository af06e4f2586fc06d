FROM alpine
RUN --mount=type=ssh echo "${SSH_AUTH_SOCK:-none}" > /1
