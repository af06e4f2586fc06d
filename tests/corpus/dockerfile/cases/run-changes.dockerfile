FROM alpine
RUN echo new > /new && mkdir -p /d/e && echo deep > /d/e/f && chmod 700 /d
RUN chmod 600 /x/file && chown 1000:50 /srv/old/file
RUN rm -r /x && echo file > /x
RUN rm /link && mkdir /link && touch /link/in
RUN ln /new /hard && ln -s nowhere /soft && mkfifo /pipe || mknod /pipe p
RUN chmod 4755 /new && touch /bin/a
