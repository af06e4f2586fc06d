FROM alpine
CMD ['single', 'quotes']
ENTRYPOINT ["unclosed"
RUN [ -d /x ] && echo "test" > /1
