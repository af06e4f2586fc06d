FROM alpine
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1.5s --retries=5 CMD ["/check", "-q"]
