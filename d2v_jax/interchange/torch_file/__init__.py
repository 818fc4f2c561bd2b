"""Files of torch.save, read without PyTorch and without running them."""
