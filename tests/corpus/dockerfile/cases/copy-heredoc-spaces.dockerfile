FROM alpine
COPY <<hello.txt <<-'raw file.txt' /dir/
Hello $NAME
hello.txt
	no $expansion
	raw file.txt
