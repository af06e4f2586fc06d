FROM alpine
ENV A=1 B="two words" C=three\ words D='q'
ENV LEGACY the rest = as it is
ENV E= F=$A G="$A" H=\$A "I J"=k
ENV X=a=b
