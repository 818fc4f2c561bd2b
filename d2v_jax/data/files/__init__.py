"""Which files there are, and whether they can be read at all."""
