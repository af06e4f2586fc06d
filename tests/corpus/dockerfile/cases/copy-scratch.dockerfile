FROM scratch
COPY a /
COPY src /
