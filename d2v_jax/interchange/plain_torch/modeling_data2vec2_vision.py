"""data2vec 2.0's network for images in plain PyTorch, which is all it needs.

from modeling_data2vec2_vision import Data2Vec2Vision
model = Data2Vec2Vision.from_pretrained(folder)
tokens = model(pixel_values).last_hidden_state

The folder has config.json and model.safetensors. transformers finds it by
`AutoModel.from_pretrained(folder, trust_remote_code=True)`.
"""

import json
import pathlib
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

try:  # so that AutoModel finds the network
  from transformers import PretrainedConfig as Fields
except ImportError:
  from types import SimpleNamespace as Fields


class Output(NamedTuple):
  """What the network makes of images."""

  # The CLS token first, if there is one, then the patches, row by row.
  last_hidden_state: torch.Tensor  # [B, N, D]
  # In front of the layers that data2vec takes targets from, and behind each.
  hidden_states: tuple[torch.Tensor, ...]
  logits: torch.Tensor | None  # [B, C]


class Data2Vec2Config(Fields):
  """The fields of config.json."""

  model_type = "data2vec2"

  @classmethod
  def from_pretrained(cls, path, return_unused_kwargs=False, **options):
    """Reads config.json of a folder, or of a repository of the hub."""
    content = (_folder(path, options) / "config.json").read_text("utf-8")
    config = cls(**json.loads(content))
    return (config, {}) if return_unused_kwargs else config


class Block(nn.Module):
  """Attention and a feed-forward part, each followed by a norm."""

  def __init__(self, c):
    super().__init__()
    width, self.num_heads = c.hidden_size, c.num_attention_heads
    maps = (nn.Linear(width, width) for _ in range(4))
    self.q, self.k, self.v, self.out = maps
    self.fc1 = nn.Linear(width, c.intermediate_size)
    self.fc2 = nn.Linear(c.intermediate_size, width)
    norms = (nn.LayerNorm(width, eps=c.layer_norm_eps) for _ in range(2))
    self.norm1, self.norm2 = norms

  def forward(self, x, bias):
    """Maps x [B, N, D], with a bias of the logits, or None, to [B, N, D]."""
    x = self.norm1(x + self.attention(x, bias))
    return self.norm2(x + self.fc2(F.gelu(self.fc1(x))))

  def attention(self, x, bias):
    """softmax(Q K^T / sqrt(d) + bias) V, and a linear map."""
    q, k, v = (
      f(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
      for f in (self.q, self.k, self.v)
    )  # [B, heads, N, d]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return self.out(y.transpose(1, 2).flatten(2))


class Head(nn.Module):
  """One vector for all patches, perhaps a norm, and one or two linear maps."""

  def __init__(self, width, pool, num_outputs, hidden, norm, norm_eps):
    super().__init__()
    self.pool = pool
    self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()
    self.fc1 = nn.Linear(width, width if hidden else num_outputs)
    self.fc2 = nn.Linear(width, num_outputs) if hidden else None

  def forward(self, tokens):
    """Maps patches [B, N, D] to logits [B, C]."""
    x = tokens[:, 0] if self.pool == "first" else tokens.mean(1)
    x = self.fc1(self.norm(x))
    return x if self.fc2 is None else self.fc2(torch.tanh(x))


class Data2Vec2Vision(nn.Module):
  """Patches with fixed positions, and layers; a head where there is one."""

  # AutoModel asks for it.
  register_for_auto_class = staticmethod(lambda auto_class=None: None)

  def __init__(self, config):
    super().__init__()
    self.config = c = config
    width, patch = c.hidden_size, c.patch_size
    self.patches = nn.Conv2d(c.num_channels, width, patch, patch)
    rows_and_columns = torch.meshgrid(
      *(torch.arange(side // patch) for side in c.image_size), indexing="ij"
    )
    row, column = (x.flatten() for x in rows_and_columns)  # [N]
    positions = _positions(row, column, width)
    self.register_buffer("positions", positions, persistent=False)
    self.cls_token = None
    if c.cls_token:
      self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
    self.alibi_scale = None
    if c.alibi_slopes:
      self.alibi_scale = nn.Parameter(torch.ones(c.num_attention_heads))
      distance = sum((x[:, None] - x).abs() for x in (row, column))
      # The CLS token is at no distance from any other.
      distance = F.pad(distance, (int(c.cls_token), 0) * 2)
      falling = -torch.tensor(c.alibi_slopes)[:, None, None] * distance
      self.register_buffer("falling", falling, persistent=False)
    self.first_norm = nn.LayerNorm(width, eps=c.layer_norm_eps)
    self.prenet = nn.ModuleList(Block(c) for _ in range(c.num_prenet_layers))
    self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
    self.head = Head(width, **c.head) if c.head else None

  def forward(self, pixel_values, **unused):
    """Maps normalised images [B, C, H, W] to `Output`."""
    x = self.patches(pixel_values).flatten(2).transpose(1, 2)  # [B, N, D]
    x = x + self.positions
    if self.cls_token is not None:
      x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1)
    bias = None
    if self.alibi_scale is not None:
      bias = self.alibi_scale.clamp(min=0)[:, None, None] * self.falling
    x = self.first_norm(x)
    for block in self.prenet:
      x = block(x, bias)
    hidden_states = [x]
    for block in self.blocks:
      x = block(x, bias)
      hidden_states.append(x)
    patches = x if self.cls_token is None else x[:, 1:]
    return Output(
      last_hidden_state=x,
      hidden_states=tuple(hidden_states),
      logits=self.head(patches) if self.head else None,
    )

  @classmethod
  def from_pretrained(cls, path, config=None, **options):
    """The network of a folder, or of a repository of the hub, in float32."""
    folder = _folder(path, options)
    model = cls(config or Data2Vec2Config.from_pretrained(folder))
    model.load_state_dict(_weights(folder / "model.safetensors"))
    return model.eval()


def _positions(row, column, width):
  """Sines and cosines [N, D]; the first half of D is of the column."""
  frequency = 10000.0 ** -(torch.arange(width // 4).double() / (width // 4))
  angles = (x[:, None] * frequency for x in (column, row))
  parts = [f(a) for a in angles for f in (torch.sin, torch.cos)]
  return torch.cat(parts, 1).float()


def _folder(path, options):
  """The folder itself, or a copy of a repository of the hub."""
  if not pathlib.Path(path).is_dir():
    from huggingface_hub import snapshot_download

    names = ("revision", "cache_dir", "token", "local_files_only")
    path = snapshot_download(path, **{k: options.get(k) for k in names})
  return pathlib.Path(path)


def _weights(path):
  """The tensors of a safetensors file, all float32."""
  data = bytearray(path.read_bytes())
  start = 8 + int.from_bytes(data[:8], "little")
  tensors = {}
  for name, entry in json.loads(data[8:start]).items():
    if name != "__metadata__":
      begin, end = (start + x for x in entry["data_offsets"])
      flat = torch.frombuffer(data[begin:end], dtype=torch.float32)
      tensors[name] = flat.reshape(entry["shape"])
  return tensors
