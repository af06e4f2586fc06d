FROM alpine AS build again
