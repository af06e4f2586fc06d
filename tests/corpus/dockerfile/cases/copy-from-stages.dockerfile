FROM alpine AS first
RUN mkdir -p /out/deep && echo 1 > /out/deep/f && ln -s deep/f /out/l && ln /out/deep/f /out/h && chmod 711 /out/deep
RUN chown 5:6 /out/deep/f && echo gone > /out/gone && ln -s /out/deep /outlink
RUN rm /out/gone
FROM first AS second
RUN echo 2 > /out/second
FROM alpine
COPY --from=first /out /a
COPY --from=1 /out/ /b/
COPY --from=second /out/* /c/
COPY --from=first /outlink /d
COPY --from=first outlink/f out/l /e/
COPY --from=first --chown=7:8 /out/deep /f
COPY --from=first /out/l /g
