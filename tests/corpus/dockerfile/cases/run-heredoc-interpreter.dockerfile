FROM python
RUN <<'EOF' python3 -
# not a comment
print("hello")
EOF
