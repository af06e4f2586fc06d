FROM alpine AS exec
ENTRYPOINT ["/bin/a", "x"]
CMD ["y", "z"]
FROM exec AS shell
CMD echo $HOME && sleep 1
FROM shell
ENTRYPOINT exec /bin/a
