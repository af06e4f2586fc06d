FROM alpine
CMD ["x"]
ENTRYPOINT ["y"]
CMD []
ENTRYPOINT []
