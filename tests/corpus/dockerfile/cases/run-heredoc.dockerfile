FROM alpine
RUN <<EOF
apk add git
echo "$HOME" \$x
EOF
RUN echo after
