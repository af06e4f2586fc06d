# a comment
FROM alpine
# another
   # indented
RUN echo one > /1 && \
# in between
    # and indented
    echo two > /2 && \

    echo "three # no comment" > /3
ENV A=1 \
# in ENV
    B=2
