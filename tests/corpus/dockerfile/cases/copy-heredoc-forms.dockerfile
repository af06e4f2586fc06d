FROM alpine
ENV NAME=value
COPY <<one <<-two <<"three" /d/
plain $NAME ${NAME:-x}
one
		tabs $NAME
	two
quoted $NAME \$x
three
COPY --chmod=0755 --chown=alice:staff <<EOF /script
#!/bin/sh
EOF
ADD <<EOF a /e/
added
EOF
WORKDIR /w
COPY <<EOF file
relative
EOF
