# syntax=docker/dockerfile:1
# check=skip=JSONArgsRecommended,WorkdirRelativePath;error=true
FROM alpine
CMD run this
WORKDIR rel
