FROM alpine
COPY a /dirlink/
COPY src /dirlink
COPY b /dirlink/below/b
