FROM alpine
ADD ["<<EOF", "/x"]
RUN EOF
