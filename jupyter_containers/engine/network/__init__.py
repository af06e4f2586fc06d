"""What networks are and where they are up; which of them containers get, at a start and later."""
