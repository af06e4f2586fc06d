FROM alpine
RUN a\
b \  
  c \
  d
RUN one \\
RUN two
ENV A=1 \
    B=2 \
    C=3
