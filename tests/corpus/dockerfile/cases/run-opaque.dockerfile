FROM alpine
RUN rm -r /srv && mkdir /srv && echo only > /srv/one
FROM alpine
RUN rm -r /x && mkdir -p /x/file && touch /x/file/below
COPY --from=0 /srv /srv
