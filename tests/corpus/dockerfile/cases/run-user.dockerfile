FROM alpine
RUN mkdir -p /homes/other && chown 1234:5 /homes/other
USER alice
RUN id -u > /tmp/who && id -g >> /tmp/who && id -G >> /tmp/who && echo $HOME >> /tmp/who && pwd >> /tmp/who
WORKDIR /homes/alice/made
RUN echo mine > mine
USER 1234:5
RUN id -u > /homes/other/who && id -g >> /homes/other/who && echo $HOME >> /homes/other/who
USER alice:staff
RUN id -g > /tmp/group
