"""data2vec's vision networks in PyTorch, of transformers' layers.

The shared position bias is gathered once a forward pass, where transformers'
own encoder takes it once a layer.
"""

import copy

import numpy as np
import torch
from transformers import Data2VecVisionConfig, Data2VecVisionModel

from benchmarks import torch_layers
from d2v_jax.config import Spec


class Network(torch.nn.Module):
  """The student; the teacher has a copy of everything."""

  TARGET = "block"
  TRACKED = ()
  # PyTorch's names, a part at a time -> the paths of our parameters.
  PATHS = (
    (r"model\.encoder\.layer\.\d+", "blocks"),
    (r"model\.encoder\.relative_position_bias\.\w+", "relative_position_bias"),
    (
      r"model\.embeddings\.patch_embeddings\.projection",
      "feature_encoder/proj",
    ),
    (r"model\.embeddings\.", ""),
    (r"model\.layernorm", "norm"),
    (r"lambda_1", "gamma_attention"),
    (r"lambda_2", "gamma_ffn"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"attention\.output\.dense", "attention/out"),
    (r"attention\.attention\.query\.bias", "attention/q_bias"),
    (r"attention\.attention\.value\.bias", "attention/v_bias"),
    (r"attention\.attention", "attention"),
    (r"intermediate\.dense", "mlp/fc1"),
    (r"output\.dense", "mlp/fc2"),
    (r"relative_position_bias$", "relative_position_bias/table"),
  )

  def __init__(self, spec: Spec, head_layers: int):
    super().__init__()
    width, size = spec["width"], spec["image_size"]
    config = Data2VecVisionConfig(
      image_size=size,
      patch_size=spec["patch_size"],
      hidden_size=width,
      num_hidden_layers=spec["depth"],
      num_attention_heads=spec["num_heads"],
      intermediate_size=4 * width,
      hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=spec["attention_dropout"],
      drop_path_rate=spec["drop_path"],
      layer_norm_eps=1e-6,
      layer_scale_init_value=spec["layer_scale"],
      use_mask_token=True,
      use_shared_relative_position_bias=True,
      use_mean_pooling=False,
    )
    config._attn_implementation = "sdpa"
    self.model = Data2VecVisionModel(config)
    self.head = torch_layers.head(width, head_layers)
    self.grid = (size // spec["patch_size"],) * 2

  def teacher(self) -> torch.nn.Module:
    """What the teacher has of its own."""
    return copy.deepcopy(self)

  @staticmethod
  def arrays(batch: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Arguments of `forward`: images [B, C, H, W], mask [B, N]."""
    images = np.ascontiguousarray(batch["inputs"].transpose(0, 3, 1, 2))
    return images, batch["mask"]

  def forward(
    self, teacher: torch.nn.Module, images: torch.Tensor, mask: torch.Tensor
  ) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Outputs [B, N, D] of the teacher's layers, and of the student."""
    x = self.model.layernorm(self.layers(images, mask)[-1])
    with torch.no_grad():
      layers = teacher.layers(images, None)
    return [layer[:, 1:] for layer in layers], x[:, 1:]

  def layers(
    self, images: torch.Tensor, mask: torch.Tensor | None
  ) -> list[torch.Tensor]:
    """Outputs [B, 1 + N, D] of all layers."""
    x, _ = self.model.embeddings(images, bool_masked_pos=mask)
    bias = self.model.encoder.relative_position_bias(self.grid)
    layers = []
    for layer in self.model.encoder.layer:
      x = layer(x, relative_position_bias=bias)[0]
      layers.append(x)
    return layers
