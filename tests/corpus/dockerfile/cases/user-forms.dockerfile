FROM alpine
USER alice
USER alice:staff
USER 5
USER 5:6
ARG U=7
USER $U:8
