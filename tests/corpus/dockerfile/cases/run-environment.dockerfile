FROM alpine
ARG WITH=arg
ARG EMPTY=
ARG NOTHING
ENV FROM_ENV="env value" PATH=/venv/bin:$PATH
RUN echo "$WITH|$EMPTY|${NOTHING-unset}|$FROM_ENV|$PATH|$HOME|$PWD" > /values
RUN env | cut -d= -f1 | sort > /names || env | grep -o '^[A-Z_]*=' | sort > /names
ENV WITH=shadow
RUN echo $WITH > /shadowed
