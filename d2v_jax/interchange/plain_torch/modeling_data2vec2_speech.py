"""data2vec 2.0's network for speech in plain PyTorch, which is all it needs.

from modeling_data2vec2_speech import Data2Vec2Speech
model = Data2Vec2Speech.from_pretrained(folder)
tokens = model(input_values, attention_mask).last_hidden_state

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
  """What the network makes of recordings."""

  last_hidden_state: torch.Tensor  # [B, N, D]
  # In front of the layers that data2vec takes targets from, and behind each.
  hidden_states: tuple[torch.Tensor, ...]
  logits: torch.Tensor | None  # [B, N, V] (the blank first), or [B, C]
  padding: torch.Tensor  # [B, N] bool


class Data2Vec2Config(Fields):
  """The fields of config.json."""

  model_type = "data2vec2"

  @classmethod
  def from_pretrained(cls, path, return_unused_kwargs=False, **options):
    """Reads config.json of a folder, or of a repository of the hub."""
    content = (_folder(path, options) / "config.json").read_text("utf-8")
    config = cls(**json.loads(content))
    return (config, {}) if return_unused_kwargs else config


class ChannelNorm(nn.LayerNorm):
  """A norm of the channels of each frame, for x [B, C, N]."""

  def forward(self, x):
    """Maps [B, C, N] to [B, C, N]."""
    return super().forward(x.transpose(1, 2)).transpose(1, 2)


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
  """Logits [B, N, V] of each frame, or [B, C] of one vector for all."""

  def __init__(self, width, pool, num_outputs, hidden, norm, norm_eps):
    super().__init__()
    self.pool = pool
    self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()
    self.fc1 = nn.Linear(width, width if hidden else num_outputs)
    self.fc2 = nn.Linear(width, num_outputs) if hidden else None

  def forward(self, x, padding):
    """Maps frames [B, N, D] to logits; padding does not count."""
    if self.pool == "mean":
      real = (~padding)[..., None].to(x.dtype)
      x = (x * real).sum(1) / real.sum(1).clamp(min=1)
    x = self.fc1(self.norm(x[:, 0] if self.pool == "first" else x))
    return x if self.fc2 is None else self.fc2(torch.tanh(x))


class Data2Vec2Speech(nn.Module):
  """Convolutions, positions and layers; a head where there is one."""

  # AutoModel asks for it.
  register_for_auto_class = staticmethod(lambda auto_class=None: None)

  def __init__(self, config):
    super().__init__()
    self.config = c = config
    width, eps, convs, inputs = c.hidden_size, c.layer_norm_eps, [], 1
    for size, kernel, stride in c.conv_layers:
      conv = nn.Conv1d(inputs, size, kernel, stride, bias=c.conv_bias)
      convs.append(nn.Sequential(conv, ChannelNorm(size), nn.GELU()))
      inputs = size
    self.convs = nn.Sequential(*convs)
    self.projection_norm = nn.LayerNorm(inputs, eps=eps)
    self.projection = nn.Linear(inputs, width)
    kernel, groups = c.position_kernel, c.position_groups
    sizes = (width, width, kernel, 1, kernel // 2, 1, groups)
    layers = range(c.position_depth)
    self.positions = nn.ModuleList(nn.Conv1d(*sizes) for _ in layers)
    scale = nn.Parameter(torch.ones(c.num_attention_heads))
    self.alibi_scale = scale if c.alibi_slopes else None
    self.first_norm = nn.LayerNorm(width, eps=eps)
    self.prenet = nn.ModuleList(Block(c) for _ in range(c.num_prenet_layers))
    self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
    self.head = Head(width, **c.head) if c.head else None

  def forward(self, input_values, attention_mask=None, **unused):
    """Maps samples [B, T], the mask 0 where they are padding, to `Output`."""
    if attention_mask is None:
      attention_mask = torch.ones_like(input_values)
    lengths = attention_mask.long().sum(1)  # in samples, and then in frames
    for _, kernel, stride in self.config.conv_layers:
      lengths = (lengths - kernel).div(stride, rounding_mode="floor") + 1
    x = self.convs(input_values[:, None]).transpose(1, 2)  # [B, N, C]
    x = self.projection(self.projection_norm(x))  # [B, N, D]
    frames = torch.arange(x.shape[1], device=x.device)
    padding = frames >= lengths[:, None]  # [B, N]
    x = x + self.position(x, padding)
    bias = padding[:, None, None].to(x.dtype) * -1e9  # [B, 1, 1, N]
    if self.alibi_scale is not None:
      slopes = x.new_tensor(self.config.alibi_slopes)  # [heads]
      slopes = slopes * self.alibi_scale.clamp(min=0)
      distance = (frames[:, None] - frames).abs()
      bias = bias - slopes[:, None, None] * distance
    x = self.first_norm(x)
    for block in self.prenet:
      x = block(x, bias)
    hidden_states = [x]
    for block in self.blocks:
      x = block(x, bias)
      hidden_states.append(x)
    logits = self.head(x, padding) if self.head else None
    return Output(x, tuple(hidden_states), logits, padding)

  def position(self, x, padding):
    """Positions [B, N, D] by frames around; even kernels make one too many."""
    for i, conv in enumerate(self.positions):
      if i < self.config.zeroed_positions:
        x = x.masked_fill(padding[..., None], 0.0)
      x = conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
      x = F.gelu(F.layer_norm(x, x.shape[2:]))
    return x

  @classmethod
  def from_pretrained(cls, path, config=None, **options):
    """The network of a folder, or of a repository of the hub, in float32."""
    folder = _folder(path, options)
    model = cls(config or Data2Vec2Config.from_pretrained(folder))
    model.load_state_dict(_weights(folder / "model.safetensors"))
    return model.eval()


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
