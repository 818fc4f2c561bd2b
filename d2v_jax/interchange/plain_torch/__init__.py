"""The networks in plain PyTorch: one file a modality, for those without JAX."""
