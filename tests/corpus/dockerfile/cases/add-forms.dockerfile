FROM alpine
ADD archive.tar.gz /opt/
ADD --chown=1 --chmod=700 a b /c/
ADD ["a", "b"]
ADD <<EOF /x
inline
EOF
