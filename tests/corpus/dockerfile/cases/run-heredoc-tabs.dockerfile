FROM alpine
RUN <<-EOF
		if true; then
			echo
  fi
	EOF
