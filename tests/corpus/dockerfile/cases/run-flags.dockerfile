FROM alpine
RUN --mount=type=cache,target=/var/cache/pip,id=pip,sharing=locked --mount=type=secret,id=token,env=TOKEN pip install x
RUN --mount=type=tmpfs,dst=/tmp,size=64m --network=none make
RUN --security=insecure --device=vendor.com/gpu=0 nvidia-smi
RUN --mount=type=ssh git clone x
RUN --mount=src=.,target=/src,rw make
RUN --network=host -- --odd
