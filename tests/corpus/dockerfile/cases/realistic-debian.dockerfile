FROM debian:12-slim
LABEL org.opencontainers.image.source="https://example.org/repo"
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN <<EOF
apt-get update
apt-get install --yes --no-install-recommends ca-certificates curl
rm -rf /var/lib/apt/lists/*
EOF
COPY <<EOF /etc/motd
Welcome to ${HOSTNAME:-this container}
EOF
VOLUME /data
STOPSIGNAL SIGINT
