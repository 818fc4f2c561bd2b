"""What is in the data of a run, and what is wrong with it."""
