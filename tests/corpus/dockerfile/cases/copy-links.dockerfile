FROM alpine
COPY to-a /followed
COPY to-src /directory/
COPY src /kept
COPY to-src/main.py /through
