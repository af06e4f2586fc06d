	 FROM	alpine	AS  x

  RUN   a   b  
ENV	A=1	  B=2
LABEL a="x y" b=c
