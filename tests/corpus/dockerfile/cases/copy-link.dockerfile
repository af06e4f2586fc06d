FROM alpine
COPY --link a /x/
COPY --link --chown=1000:50 src/deep /linked/
COPY --link=true a b /dirlink/
COPY --link=false a /dirlink/plain
ADD --link archive.tar /arch/
FROM alpine
COPY --link --from=0 /linked /again
