"""Checkpoints: saved, checked, and read again."""
