FROM alpine
RUN ["/no/such/program"]
