FROM alpine
ENV A="${UNSET?it must be set}"
