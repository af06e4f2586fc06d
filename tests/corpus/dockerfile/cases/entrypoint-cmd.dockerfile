FROM alpine
ENTRYPOINT ["/tool", "--flag"]
CMD ["serve"]
ENTRYPOINT exec top -b
CMD echo "$HOME"
CMD []
ENTRYPOINT
CMD
