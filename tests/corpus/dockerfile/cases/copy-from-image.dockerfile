FROM scratch
COPY --from=busybox:1 /bin/busybox /bin/
COPY --from=alpine /x /srv /all/
COPY --from=alpine /link /l
