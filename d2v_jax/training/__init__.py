"""One run: built from its config, trained by one loop, kept in checkpoints."""
