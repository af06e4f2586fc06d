FROM alpine
COPY a b /file
