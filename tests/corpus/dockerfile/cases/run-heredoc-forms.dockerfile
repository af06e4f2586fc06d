FROM alpine
ARG WHO=world
RUN <<EOF
echo "hello $WHO" > /1
set -e
echo $0 > /2
EOF
RUN <<-TABS
	echo tabs > /3
	TABS
RUN <<EOF sh -x
echo piped > /4
EOF
RUN cat <<A > /5 && cat <<'B' > /6
first $WHO
A
second $WHO
B
RUN <<EOF
#!/bin/sh -e
echo shebang > /7
EOF
