"""Where recordings come from, and what is done to them."""
