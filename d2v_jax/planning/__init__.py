"""A run before it runs: memory, traffic and time of its compiled step."""
