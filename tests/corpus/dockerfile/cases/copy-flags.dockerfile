FROM alpine
COPY --chown=1000:1000 --chmod=0644 a /a
COPY --from=busybox --chown=app a b /c/
COPY --link --parents --exclude=*.o --exclude=**/tmp src /src
COPY --link=false --parents=False a b
COPY --chmod=u=rwX,go=rX a b
COPY --chown="us er" a b
