"""Attention: one function, and what computes it on each platform."""
