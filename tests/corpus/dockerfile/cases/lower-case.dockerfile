from alpine
arg a=1
env b=2
copy a b
cmd ["c"]
