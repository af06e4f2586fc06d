ARG BASE=nothing-like-this
FROM ${BASE}
ARG GIVEN=default
ARG UNGIVEN=default
ARG BARE
ENV KEPT=$GIVEN
RUN echo "$GIVEN $UNGIVEN $BARE" > /1
ENV GIVEN=env
RUN echo "$GIVEN" > /2
ARG GIVEN=again
RUN echo "$GIVEN" > /3
# flags: --build-arg BASE=alpine --build-arg GIVEN=given --build-arg BARE=bare
