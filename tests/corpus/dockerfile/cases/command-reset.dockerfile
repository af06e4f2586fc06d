FROM alpine AS base
CMD ["from", "base"]
FROM base
ENTRYPOINT ["/bin/a"]
