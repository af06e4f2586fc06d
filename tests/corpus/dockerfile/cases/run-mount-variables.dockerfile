FROM alpine
RUN --mount=type=cache,target=${HOME}/.cache,uid=$UID true
