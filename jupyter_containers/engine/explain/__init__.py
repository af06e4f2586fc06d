"""What is told of a verb: beforehand, while it is done one stage at a time, and afterwards."""
