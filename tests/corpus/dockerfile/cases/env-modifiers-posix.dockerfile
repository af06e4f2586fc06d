FROM alpine
ENV SET=value EMPTY=
ENV A=${SET-other} B=${UNSET-other} C=${EMPTY-other} D=${SET+other} E=${UNSET+other} F=${EMPTY+other}
ENV G="${SET?must be set}" H="${SET:?must be set}" I="${UNSET-a b}" J="${EMPTY?may be empty}"
