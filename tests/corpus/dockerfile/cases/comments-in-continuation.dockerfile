FROM alpine
RUN a && \
# in between
    # and indented
  b && \

  c
