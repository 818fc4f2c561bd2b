"""What learned features are compared with."""
