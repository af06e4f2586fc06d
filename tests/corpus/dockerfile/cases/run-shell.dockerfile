FROM alpine
RUN apk add --no-cache git && echo "done"
run	echo   'two  spaces'   
