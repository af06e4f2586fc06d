FROM scratch
FROM alpine:3.22 AS Build
from alpine@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa as second
FROM --platform=linux/amd64 registry.example:5000/team/tool:1 AS third-1.x_y
FROM build
