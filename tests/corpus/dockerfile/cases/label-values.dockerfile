FROM alpine
LABEL a=1 b="two words" c=three\ words "d e"=f
LABEL a=over multi="line one \
line two"
LABEL legacy the rest of it
LABEL empty= quoted='single $a' dollar="\$x"
ARG V=v
LABEL from-arg=$V org.example.key="${V}-x"
