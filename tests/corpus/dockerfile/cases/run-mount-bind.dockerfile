FROM alpine AS other
RUN mkdir -p /from/here && echo other > /from/here/f
FROM alpine
RUN --mount=type=bind,target=/ctx cat /ctx/a /ctx/src/main.py > /1
RUN --mount=source=src,target=/s,readwrite echo new > /s/new && cat /s/new > /2
RUN --mount=from=other,src=/from,dst=/o cat /o/here/f > /3
RUN --mount=type=bind,source=a,destination=/etc/one,readonly cat /etc/one > /4
RUN --mount=target=rel ls rel | head -n 1 > /5
