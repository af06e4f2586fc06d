# escape=`
FROM alpine
ENV A=C:\dir B="x`"y"
RUN echo one && `
    echo "$A" > /1
COPY a `
     b `
     /copied/
