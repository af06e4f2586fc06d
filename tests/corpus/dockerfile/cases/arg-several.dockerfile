FROM alpine
ARG A=1
ARG B="two words"
ARG C=${A}3
ARG A=4
LABEL args="$A $B $C"
