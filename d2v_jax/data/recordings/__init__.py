"""What speech, spectrograms and signals have in common: numbers over time."""
