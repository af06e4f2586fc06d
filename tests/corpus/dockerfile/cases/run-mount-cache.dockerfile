FROM alpine AS seed
RUN mkdir /seed && echo seed > /seed/f
FROM alpine
RUN --mount=type=cache,target=/c,id=first echo kept >> /c/log && cat /c/log > /1
RUN --mount=type=cache,target=/c,id=first,ro cat /c/log > /2
RUN --mount=type=cache,target=/p,sharing=private,mode=0750,uid=1000,gid=50 ls -ldn /p | cut -c1-10 > /3 || true
RUN --mount=type=cache,target=/l,sharing=locked,from=seed,source=/seed cat /l/f > /4
