# syntax=docker/dockerfile:1
# ESCAPE = `
#check=skip=JSONArgsRecommended;error=true

FROM alpine
RUN dir `
  C:\
