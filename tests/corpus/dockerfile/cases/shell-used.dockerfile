FROM alpine
SHELL ["/bin/sh", "-e", "-c"]
RUN echo $- > /1
CMD run this
ENTRYPOINT and this
HEALTHCHECK CMD and that
SHELL ["/bin/a", "--"]
RUN now this
