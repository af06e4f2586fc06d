FROM alpine
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.org/x.tar.xz /
ADD https://example.org/x /
ADD https://example.org/team/repo.git#v1 /src
ADD git@example.org:team/repo.git /src
ADD --keep-git-dir=true git://example.org/repo /src
ADD --unpack=true --exclude=a --link x.tar /
