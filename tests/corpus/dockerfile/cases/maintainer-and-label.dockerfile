FROM alpine
MAINTAINER Someone <someone@example.org>
LABEL org.opencontainers.image.authors=other
