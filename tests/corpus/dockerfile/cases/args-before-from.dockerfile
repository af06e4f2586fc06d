ARG A=1 B="two words" C
ARG D=$A-${B}
FROM alpine:$D
ARG A
ARG E=5
RUN echo $A $E
