"""data2vec's speech networks in PyTorch, of transformers' layers.

The convolutions run once: the teacher takes the student's features before they
are masked, as in the released speech code.
"""

import copy

import numpy as np
import torch
from torch.nn import functional
from transformers import Data2VecAudioConfig, Data2VecAudioModel

from benchmarks import torch_layers
from d2v_jax.config import Spec


class Network(torch.nn.Module):
  """The student; the teacher has its own `norm` and `blocks`."""

  TARGET = "ffn"
  TRACKED = ("norm", "blocks")
  # PyTorch's names, a part at a time -> the paths of our parameters.
  PATHS = (
    (r"^feature_encoder\.(\d+)\.conv", r"feature_encoder/conv\1"),
    (r"^feature_encoder\.(\d+)\.layer_norm", r"feature_encoder/norm\1"),
    (r"^feature_projection\.layer_norm", "feature_projection/norm"),
    (r"^feature_projection\.projection", "feature_projection/proj"),
    (r"^positions\.layers\.(\d+)\.conv\.weight", r"positions/kernel\1"),
    (r"^positions\.layers\.(\d+)\.conv\.bias", r"positions/bias\1"),
    (r"^blocks\.\d+", "blocks"),
    (r"attention\.([qkv])_proj\.bias", r"attention/\1_bias"),
    (r"q_proj", "query"),
    (r"k_proj", "key"),
    (r"v_proj", "value"),
    (r"out_proj", "out"),
    (r"final_layer_norm", "norm2"),
    (r"layer_norm", "norm1"),
    (r"feed_forward\.intermediate_dense", "mlp/fc1"),
    (r"feed_forward\.output_dense", "mlp/fc2"),
  )

  def __init__(self, spec: Spec, head_layers: int):
    super().__init__()
    torch_layers.check(
      "encoder",
      spec,
      conv_norm="layer",
      conv_bias=False,
      feature_grad_scale=1.0,
      pre_norm=False,
      layer_drop=0.0,
      mlp_ratio=4.0,
    )
    channels, kernels, strides = zip(*spec["conv_layers"], strict=True)
    width, positions = spec["width"], spec["position_depth"]
    self.rate = spec["dropout"]
    config = Data2VecAudioConfig(
      hidden_size=width,
      num_hidden_layers=spec["depth"],
      num_attention_heads=spec["num_heads"],
      intermediate_size=4 * width,
      hidden_dropout=self.rate,
      attention_dropout=spec["attention_dropout"],
      activation_dropout=spec["activation_dropout"],
      feat_proj_dropout=0.0,
      conv_dim=channels,
      conv_kernel=kernels,
      conv_stride=strides,
      num_conv_pos_embeddings=positions,
      conv_pos_kernel_size=max(3, spec["position_width"] // positions),
      num_conv_pos_embedding_groups=spec["position_groups"],
      mask_time_prob=0.5,  # else there is no mask token
    )
    config._attn_implementation = "sdpa"
    model = Data2VecAudioModel(config)
    self.feature_encoder = model.feature_extractor.conv_layers
    self.feature_projection = model.feature_projection
    self.mask_token = model.masked_spec_embed
    self.positions = model.encoder.pos_conv_embed
    self.norm = model.encoder.layer_norm
    self.blocks = model.encoder.layers
    self.head = torch_layers.head(width, head_layers)

  def teacher(self) -> torch.nn.Module:
    """What the teacher has of its own."""
    own = torch.nn.ModuleDict({"norm": self.norm, "blocks": self.blocks})
    return copy.deepcopy(own)

  @staticmethod
  def arrays(batch: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Arguments of `forward`: samples [B, T], mask [B, N]."""
    return batch["inputs"], batch["mask"]

  def forward(
    self, teacher: torch.nn.Module, audio: torch.Tensor, mask: torch.Tensor
  ) -> tuple[list[torch.Tensor], torch.Tensor]:
    """FFN outputs [B, N, D] of the teacher's layers; output of the student."""
    features = audio[:, None]
    for layer in self.feature_encoder:
      features = layer(features)
    features, _ = self.feature_projection(features.transpose(1, 2))
    x = torch.where(mask[..., None], self.mask_token, features)
    x, _ = self._encode(self.norm, self.blocks, x)
    with torch.no_grad():
      _, layers = self._encode(teacher["norm"], teacher["blocks"], features)
    return layers, x

  def _encode(self, norm, blocks, x):
    x = norm(x + self.positions(x))
    x = functional.dropout(x, self.rate, blocks.training)
    layers = []
    for layer in blocks:
      y, _ = layer.attention(x)
      x = layer.layer_norm(x + layer.dropout(y))
      y = layer.feed_forward(x)
      x = layer.final_layer_norm(x + y)
      layers.append(y)
    return x, layers
