FROM alpine AS broken
RUN exit 1
FROM nothing.example/like/this AS missing
COPY a /a
FROM alpine
RUN echo fine > /fine
