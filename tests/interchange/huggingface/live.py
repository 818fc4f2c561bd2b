"""Random models of transformers, and what they are compared by."""

import os

import numpy as np
import pytest

# Nothing may be looked up elsewhere.
os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch", reason="the extra `parity` has torch")
transformers = pytest.importorskip(
  "transformers", reason="the extra `parity` has transformers"
)

TOLERANCE = 1e-4
SIZES = dict(
  hidden_size=32,
  num_hidden_layers=3,
  num_attention_heads=4,
  intermediate_size=72,
)
VISION = dict(SIZES, image_size=32, patch_size=8)
AUDIO = dict(
  SIZES,
  conv_dim=(16, 16, 16),
  conv_kernel=(10, 3, 2),
  conv_stride=(5, 2, 2),
  num_conv_pos_embedding_groups=4,
  vocab_size=12,
)
TEXT = dict(SIZES, vocab_size=50, max_position_embeddings=34)
SHARED = dict(use_shared_relative_position_bias=True)


def random_model(name, config):
  """A Data2Vec of transformers."""
  return random(f"Data2Vec{name}", config)


def random(name, config):
  """A model of transformers, of which no weight is 0 or 1."""
  with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**config)).eval()
    with torch.no_grad():
      for parameter in model.parameters():  # none of them is left at 0 or 1
        parameter += 0.1 * torch.randn_like(parameter)
  return model


def assert_close(mine, theirs):
  np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)
