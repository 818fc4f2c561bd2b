"""Sources, augmentation, masks and batches; numpy on the host, no JAX."""
