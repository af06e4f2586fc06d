FROM alpine
COPY --chown=alice a /1
COPY --chown=alice:staff a /2
COPY --chown=5:6 a /3
COPY --chown=7 a /4
COPY --chown=1000:staff src /5/6/
COPY --chown=0:wheel a /srv/old/
ARG WHO=alice
COPY --chown=$WHO a /8
