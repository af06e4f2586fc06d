FROM alpine AS first
ENV A=1
LABEL l=1
EXPOSE 80
VOLUME /v
WORKDIR /w
USER alice
CMD ["c"]
STOPSIGNAL SIGINT
FROM first AS second
ENV A=2 B=$A
LABEL m=2
USER 0
FROM second
RUN echo $A $B > x
