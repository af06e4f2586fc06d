FROM alpine
RUN --mount=type=secret,id=word,env=WORD echo ${#WORD} > /1 && test ! -e /run/secrets/word
RUN --mount=type=secret,id=word,env=WORD,target=/w test "$(cat /w)" = "$WORD"
RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -n 1 | tr -s ' ' | cut -d' ' -f2 > /2
# flags: --secret id=word,src=SECRET
