"""Where signals come from, and what is done to them."""
