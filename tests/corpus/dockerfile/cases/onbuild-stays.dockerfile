FROM alpine
ONBUILD RUN echo  two  spaces
onbuild COPY a \
  /b
ONBUILD CMD ["x"]
ONBUILD EXPOSE 80
RUN true
