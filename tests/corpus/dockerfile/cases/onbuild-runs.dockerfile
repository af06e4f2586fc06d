FROM alpine AS parent
ONBUILD ARG WHO=nobody
ONBUILD ENV MADE=by-trigger
ONBUILD WORKDIR /triggered
ONBUILD COPY a ./
ONBUILD RUN echo "$WHO $MADE" > who
ONBUILD USER alice
ONBUILD LABEL triggered=yes
ONBUILD ADD archive.tar /arch/
FROM parent
RUN id -u > /tmp/user
