FROM alpine
RUN mkdir -p /d/sub /e && echo 1 > /d/a && echo 2 > /d/sub/b && echo 3 > /e/c
RUN rm -r /d/sub /srv/hard
RUN rm -r /e && mkdir /e && echo new > /e/new
RUN mv /d /moved
RUN rm -rf /srv/old/* && rmdir /srv/old
