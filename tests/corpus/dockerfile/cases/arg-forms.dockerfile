FROM alpine
ARG A
ARG B=1 C="x y" D
ARG E=
ARG 'F=g'
