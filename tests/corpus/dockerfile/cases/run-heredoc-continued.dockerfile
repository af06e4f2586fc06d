FROM alpine
RUN cat \
  <<EOF \
  > /file
text \
more
EOF
