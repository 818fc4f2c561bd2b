"""What watches a run, and what is done when something is wrong with it."""
