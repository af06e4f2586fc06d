FROM alpine
LABEL org.opencontainers.image.title="A tool" version=1.0
LABEL description="one \
two"
LABEL old style label
