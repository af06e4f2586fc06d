FROM alpine
MAINTAINER Someone <someone@example.org>
