FROM alpine
ENV P=/usr/local/lib/libfoo.so.1.2 D=a-b-c
ENV A=${P#*/} B=${P##*/} C=${P%.*} D1=${P%%.*} E=${P#/usr} F=${P%nothing}
ENV G=${D/-/_} H=${D//-/_} I=${D/b?/x} J=${D//[a-b]/x} K=${D/-/} L=${P//\//:}
RUN echo "$A $B $C $D1 $E $F $G $H $I $J $K $L" > /values
