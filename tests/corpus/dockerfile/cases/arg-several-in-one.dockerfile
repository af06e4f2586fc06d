FROM alpine
ARG A=1 B="two words" C D=$A
LABEL args="$A $B ${C:-none} $D"
