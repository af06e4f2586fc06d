FROM alpine
COPY *.txt /t/
COPY w?de/[fg]1 /w/
COPY wide/[^g]* /f/
COPY s*c/d* /s/
COPY src/[[]odd] /odd
COPY wide/f* wide/g* /both/
