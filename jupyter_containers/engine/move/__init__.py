"""Moving a container to another store: both sides, and what they say to each other."""
