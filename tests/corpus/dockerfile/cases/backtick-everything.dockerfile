# escape=`
FROM mcr.example/windows
ENV A="x`"y" B=C:\dir
COPY a `
     C:\dest\
RUN echo `` && dir
