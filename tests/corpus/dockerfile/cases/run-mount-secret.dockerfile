FROM alpine
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent && echo none > /1
RUN --mount=type=secret,id=word cat /run/secrets/word > /dev/null && ls -ln /run/secrets/word | cut -c1-10 > /2
RUN --mount=type=secret,id=word,target=/s/w,mode=0440,uid=1000,gid=50 ls -ln /s/w | tr -s ' ' | cut -d' ' -f1,3,4 > /3
# flags: --secret id=word,src=SECRET
