FROM alpine
ENV A=${UNSET:x}
