FROM alpine
COPY --parents src/main.py src/deep/er/leaf /p/
COPY --parents src/**/*.md /q/
COPY --parents ./src/./deep/er /r/
COPY --parents --chown=alice src /s
COPY --parents wide/f* /t/
