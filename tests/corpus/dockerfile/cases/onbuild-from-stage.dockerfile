FROM alpine AS files
RUN echo file > /file
FROM alpine AS parent
ONBUILD COPY --from=files /file /from-stage
ONBUILD RUN --mount=from=files,target=/f cat /f/file > /mounted
FROM parent
RUN cat /from-stage > /seen
