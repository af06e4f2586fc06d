FROM alpine
RUN mkdir /t && echo below > /t/below
RUN --mount=type=tmpfs,target=/t test ! -e /t/below && echo gone > /t/x && cat /t/x > /1
RUN ls /t > /2
