"""Features of files: the parts of the command `d2v features`."""
