"""data2vec 2.0's vision networks in PyTorch.

There are none in transformers. The layers have one product for queries, keys
and values, and fused attention; the decoder's convolutions have the channels
last.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import torch_layers
from d2v_jax.config import Spec
from d2v_jax.models.positions import sincos_positions


class Network(nn.Module):
  """The student; the teacher has a copy of everything but the decoder."""

  TARGET = "ffn"
  TRACKED = ("feature_encoder", "cls_token", "prenet_norm", "prenet", "blocks")
  # PyTorch's names, a part at a time -> the paths of our parameters.
  PATHS = ((r"^(prenet|blocks)\.\d+", r"\1"),)

  def __init__(self, spec: Spec, decoder: Spec):
    super().__init__()
    torch_layers.check(
      "encoder",
      spec,
      cls_token=True,
      alibi=False,
      attention_dropout=0.0,
      drop_path=0.0,
      mlp_ratio=4.0,
    )
    width, size, patch = (
      spec[name] for name in ("width", "image_size", "patch_size")
    )
    grid = (size // patch,) * 2
    layer = width, spec["num_heads"], spec["norm_eps"]
    self.feature_encoder = nn.ModuleDict(
      {"proj": nn.Conv2d(3, width, patch, patch)}
    )
    positions = torch.from_numpy(sincos_positions(grid, width))
    self.register_buffer("positions", positions, persistent=False)
    self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
    self.prenet_norm = nn.LayerNorm(width, spec["norm_eps"])
    self.prenet = nn.ModuleList(
      _Layer(*layer) for _ in range(spec["prenet_depth"])
    )
    self.blocks = nn.ModuleList(_Layer(*layer) for _ in range(spec["depth"]))
    self.decoder = _Decoder(width, grid, decoder)
    self.head = nn.Identity()

  def teacher(self) -> nn.Module:
    """What the teacher has of its own."""
    own = copy.deepcopy(self)
    del own.decoder
    return own

  @staticmethod
  def arrays(batch: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Arguments of `forward`: images [B, C, H, W], visible [B, M, V]."""
    images = np.ascontiguousarray(batch["inputs"].transpose(0, 3, 1, 2))
    return images, batch["keep_ids"].astype(np.int64)

  def forward(
    self, teacher: nn.Module, images: torch.Tensor, keep_ids: torch.Tensor
  ) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """FFN outputs [B, N, D] of the teacher's layers; of the student's B * M
    choices of tokens all that are decoded [B * M, N, D], and CLS [B * M, D]."""
    num_masks = keep_ids.shape[1]
    ids = keep_ids.flatten(0, 1)[..., None]  # [B * M, V, 1]
    tokens = self.tokens(images)  # [B, N, D]
    ids = ids.expand(-1, -1, tokens.shape[-1])
    x = tokens.repeat_interleave(num_masks, 0).gather(1, ids)
    x, _ = self.layers(x)
    with torch.no_grad():
      _, layers = teacher.layers(teacher.tokens(images))
    return layers, self.decoder(x[:, 1:], ids), x[:, 0]

  def tokens(self, images: torch.Tensor) -> torch.Tensor:
    """Patches with positions, [B, N, D]."""
    x = self.feature_encoder["proj"](images).flatten(2).transpose(1, 2)
    return x.float() + self.positions

  def layers(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Output [R, 1 + V, D], and FFN outputs [R, V, D] of all `blocks`."""
    x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
    x = self.prenet_norm(x)
    for layer in self.prenet:
      x, _ = layer(x)
    outputs = []
    for layer in self.blocks:
      x, y = layer(x)
      outputs.append(y[:, 1:])
    return x, outputs


class _Attention(nn.Module):
  def __init__(self, width, num_heads):
    super().__init__()
    self.qkv = nn.Linear(width, 3 * width, bias=False)
    for name in "qkv":
      self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(width)))
    self.out = nn.Linear(width, width)
    self.num_heads = num_heads

  def forward(self, x):
    bias = torch.cat([self.q_bias, self.k_bias, self.v_bias])
    qkv = functional.linear(x, self.qkv.weight, bias)
    qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
    y = functional.scaled_dot_product_attention(*qkv)
    return self.out(y.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
  """With the norm after each branch; returns FFN's output, too."""

  def __init__(self, width, num_heads, eps):
    super().__init__()
    self.attention = _Attention(width, num_heads)
    self.norm1 = nn.LayerNorm(width, eps)
    self.mlp = nn.ModuleDict(
      {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
    )
    self.norm2 = nn.LayerNorm(width, eps)

  def forward(self, x):
    x = self.norm1(x + self.attention(x))
    y = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](x)))
    return self.norm2(x + y), y


class _Decoder(nn.Module):
  """Noise at hidden patches, then convolutions, then a linear map."""

  def __init__(self, outer, grid, spec):
    super().__init__()
    torch_layers.check(
      "objective.decoder",
      spec,
      residual=True,
      projection_layers=1,
      input_dropout=0.0,
    )
    width, before = spec["width"], outer
    for i in range(spec["layers"]):
      conv = nn.Conv2d(
        before, width, spec["kernel"], padding="same", groups=spec["groups"]
      )
      self.add_module(f"conv{i}", conv)
      before = width
    self.proj1 = nn.Linear(width, outer)
    self.num_layers, self.grid = spec["layers"], grid
    self.noise_std = spec["noise_std"]

  def forward(self, tokens, ids):
    """[R, V, D] at ids [R, V, D] to [R, N, D]."""
    rows, _, width = tokens.shape
    height, columns = self.grid
    filled = self.noise_std * torch.randn(
      rows, height * columns, width, device=tokens.device
    )
    filled = filled.scatter(1, ids, tokens.float())
    x = filled.view(rows, height, columns, width)
    for i in range(self.num_layers):
      conv = getattr(self, f"conv{i}")
      y = conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
      y = functional.gelu(functional.layer_norm(y.float(), y.shape[-1:]))
      x = x + y if x.shape == y.shape else y
    return self.proj1(x.flatten(1, 2))
