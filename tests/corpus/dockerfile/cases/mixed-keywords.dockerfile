FrOm alpine
rUn echo
CoPy a b
