FROM alpine
COPY --chmod=600 a /1
COPY --chmod=0755 src /2
COPY --chmod=4711 --chown=alice b /3/
COPY --chmod=700 a b /4/
