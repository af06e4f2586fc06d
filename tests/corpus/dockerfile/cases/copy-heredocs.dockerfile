FROM alpine
COPY <<one.sh other 2<<"two.sh" /bin/
echo $PATH
one.sh
echo $PATH
two.sh
