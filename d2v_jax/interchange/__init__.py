"""Weights and configurations from and for other software."""
