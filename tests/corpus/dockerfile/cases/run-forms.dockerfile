FROM alpine
RUN echo shell "$HOME" $0 > /shell
RUN ["/bin/sh", "-c", "echo exec $0 > /exec", "zero"]
RUN [ "sh" , "-c", "echo \"quoted\" \u00e9 > /escaped" ]
RUN echo one; \
    echo two > /two
RUN    echo   'two  spaces'   > /spaces
