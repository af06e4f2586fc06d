FROM alpine
ENV ONE=1 TWO="two words" THREE=three\ words FOUR='$ONE' FIVE="say \"x\"" SIX=
ENV SEVEN seven  words   here
ENV ONE=uno EIGHT=$ONE NINE=${ONE}9
ENV TEN=a\
b ELEVEN="a b"c'd e'
ENV TWELVE=\$ONE THIRTEEN=\\ FOURTEEN=$NOTHING FIFTEEN=${NOTHING}x
ENV sixteen=lower_Case SIXTEEN=UPPER
RUN env | grep -v -e HOSTNAME -e PWD -e SHLVL -e HOME -e SOURCE | sort > /values
