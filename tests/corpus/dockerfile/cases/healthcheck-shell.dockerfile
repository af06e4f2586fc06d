FROM alpine
HEALTHCHECK --interval=30s CMD a -f http://localhost/ || exit 1
