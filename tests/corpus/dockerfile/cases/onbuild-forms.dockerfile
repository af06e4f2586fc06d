FROM alpine
ONBUILD RUN make
ONBUILD COPY . /app
onbuild   Env a=b
ONBUILD CMD ["x"]
ONBUILD RUN <<EOF
echo
EOF
ONBUILD COPY --from=build a \
  b
