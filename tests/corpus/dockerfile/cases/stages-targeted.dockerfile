FROM alpine AS first
RUN echo first > /first
FROM first AS wanted
RUN echo wanted > /wanted
FROM alpine AS broken
RUN exit 1
# flags: --target wanted
