"""Folders as transformers reads and writes them."""
