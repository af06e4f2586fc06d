"""The verbs: one table that the command line, the magics, the help and the completion are all derived from."""
