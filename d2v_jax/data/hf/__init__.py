"""Parquet and Arrow files and Hugging Face datasets: rows at random."""
