FROM alpine
COPY --exclude=*.md src /1/
COPY --exclude=**/*.md --exclude=.hidden src /2/
COPY --exclude=deep src /3/
COPY --exclude=*.txt *.txt a /4/
ADD --exclude=f* wide /5/
COPY --exclude=deep --exclude=!deep/notes.md src /6/
