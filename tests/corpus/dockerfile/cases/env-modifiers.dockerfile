FROM alpine
ENV SET=value EMPTY=
ENV A=${SET:-other} B=${UNSET:-other} C=${EMPTY:-other} E=${UNSET:-$SET} F=${UNSET:-${SET}x}
ENV G=${SET:+other} H=${UNSET:+other} I=${EMPTY:+other} K="${UNSET:-in quotes}"
LABEL k="${SET:-x} ${UNSET:+y}" l=${SET}${SET}
WORKDIR /${UNSET:-w}/${SET}
USER ${UNSET:-1000}
EXPOSE ${UNSET:-80}/tcp
STOPSIGNAL ${UNSET:-SIGINT}
VOLUME /${SET}
COPY ${UNSET:-a} /${SET}/
