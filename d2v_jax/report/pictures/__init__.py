"""Examples as a person sees them, with what a network makes of each token."""
