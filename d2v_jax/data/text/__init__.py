"""Where texts come from, and what is done to them."""
