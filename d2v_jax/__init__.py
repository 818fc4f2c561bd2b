"""data2vec and data2vec 2.0 in JAX: one algorithm for images, speech, text."""

__version__ = "0.1.0"
