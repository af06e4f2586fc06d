FROM alpine
RUN ['single', 'quotes']
RUN ["unclosed"
RUN ["trailing",]
RUN ["a"] && echo "the array only"
RUN [ -f /x ] || exit 1
RUN [NaN
