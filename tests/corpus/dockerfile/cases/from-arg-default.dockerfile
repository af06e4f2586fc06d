ARG NAME
FROM ${NAME:-alpine}
RUN echo x > /x.txt
