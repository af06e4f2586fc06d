FROM alpine
COPY --chmod=755 <<-"run.sh" /bin/
	#!/bin/sh
	echo "$1"
	run.sh
