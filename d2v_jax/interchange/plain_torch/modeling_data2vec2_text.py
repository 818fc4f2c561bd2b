"""data2vec 2.0's network for text in plain PyTorch, which is all it needs.

from modeling_data2vec2_text import Data2Vec2Text
model = Data2Vec2Text.from_pretrained(folder)
tokens = model(input_ids).last_hidden_state

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
  """What the network makes of texts."""

  last_hidden_state: torch.Tensor  # [B, N, D]
  # In front of the layers that data2vec takes targets from, and behind each.
  hidden_states: tuple[torch.Tensor, ...]
  logits: torch.Tensor | None  # [B, C]
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
  """One vector for all tokens, perhaps a norm, and one or two linear maps."""

  def __init__(self, width, pool, num_outputs, hidden, norm, norm_eps):
    super().__init__()
    self.pool = pool
    self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()
    self.fc1 = nn.Linear(width, width if hidden else num_outputs)
    self.fc2 = nn.Linear(width, num_outputs) if hidden else None

  def forward(self, x, padding):
    """Maps tokens [B, N, D] to logits [B, C]; padding does not count."""
    if self.pool == "first":
      x = x[:, 0]
    else:
      real = (~padding)[..., None].to(x.dtype)
      x = (x * real).sum(1) / real.sum(1).clamp(min=1)
    x = self.fc1(self.norm(x))
    return x if self.fc2 is None else self.fc2(torch.tanh(x))


class Data2Vec2Text(nn.Module):
  """Embeddings with positions, and layers; a head where there is one."""

  # AutoModel asks for it.
  register_for_auto_class = staticmethod(lambda auto_class=None: None)

  def __init__(self, config):
    super().__init__()
    self.config = c = config
    width, eps = c.hidden_size, c.layer_norm_eps
    self.embedding = nn.Embedding(c.vocab_size, width)
    # Those of padding and what is below it are never used.
    rows = c.max_tokens + c.pad_token_id + 1
    self.position_embedding = nn.Embedding(rows, width)

    def norm(there):
      return nn.LayerNorm(width, eps=eps) if there else nn.Identity()

    self.embedding_norm = norm(c.embedding_norm)
    scale = nn.Parameter(torch.ones(c.num_attention_heads))
    self.alibi_scale = scale if c.alibi_slopes else None
    self.first_norm = norm(c.num_prenet_layers)
    self.prenet = nn.ModuleList(Block(c) for _ in range(c.num_prenet_layers))
    self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
    self.head = Head(width, **c.head) if c.head else None

  def forward(self, input_ids, attention_mask=None, **unused):
    """Maps token ids [B, N], the mask 0 where they are padding, to `Output`."""
    pad = self.config.pad_token_id
    padding = input_ids == pad  # [B, N]
    if attention_mask is not None:
      padding = padding | (attention_mask == 0)
    x = self.embedding(input_ids)  # [B, N, D]
    if self.config.scale_embedding:
      x = x * x.shape[-1] ** 0.5
    real = (~padding).long()
    x = x + self.position_embedding(pad + real.cumsum(1) * real)
    bias = padding[:, None, None].to(x.dtype) * -1e9  # [B, 1, 1, N]
    if self.alibi_scale is not None:
      slopes = x.new_tensor(self.config.alibi_slopes)  # [heads]
      slopes = slopes * self.alibi_scale.clamp(min=0)
      places = torch.arange(x.shape[1], device=x.device)
      distance = (places[:, None] - places).abs()
      bias = bias - slopes[:, None, None] * distance
    x = self.first_norm(self.embedding_norm(x))
    for block in self.prenet:
      x = block(x, bias)
    hidden_states = [x]
    for block in self.blocks:
      x = block(x, bias)
      hidden_states.append(x)
    return Output(
      last_hidden_state=x,
      hidden_states=tuple(hidden_states),
      logits=self.head(x, padding) if self.head else None,
      padding=padding,
    )

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
