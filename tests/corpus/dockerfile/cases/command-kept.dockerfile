FROM alpine
CMD ["kept"]
ENTRYPOINT ["/bin/a"]
CMD ["over"]
