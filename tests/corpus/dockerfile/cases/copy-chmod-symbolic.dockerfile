FROM alpine
COPY --chmod=u=rwX,go=rX src /1
COPY --chmod=a+x b /2
COPY --chmod=go-rwx,u+s a /3
COPY --chmod=g=u b /4
ARG MODE=750
COPY --chmod=$MODE a /5
ADD --chmod=+t sticky /6
