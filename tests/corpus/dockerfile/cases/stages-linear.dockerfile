FROM golang:1.24 AS build
RUN go build -o /out .
FROM build AS test
RUN go test ./...
FROM scratch
COPY --from=build /out /tool
