# about the base
#second line
FROM alpine
   # indented
RUN echo # not a comment
# last
