FROM alpine
QQQQ x
