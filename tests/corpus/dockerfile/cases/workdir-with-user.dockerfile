FROM alpine
USER alice
WORKDIR /made/by/alice
RUN touch /tmp/x
USER 0
WORKDIR /made/by/root
