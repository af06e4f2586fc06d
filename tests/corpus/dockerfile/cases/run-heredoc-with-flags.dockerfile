FROM alpine
RUN --network=default <<EOF
true
EOF
