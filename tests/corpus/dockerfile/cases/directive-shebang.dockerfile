#!/usr/bin/env build
# escape=`
FROM alpine
