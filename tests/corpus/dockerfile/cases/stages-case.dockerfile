FROM alpine AS Base
FROM BASE
COPY --from=bAsE /x /x
