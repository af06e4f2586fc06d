FROM alpine
RUN cat <<ONE >/one && cat 3<<-"TWO" >/two
first
ONE
	second
	TWO
RUN true
