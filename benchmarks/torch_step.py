"""data2vec's vision step in PyTorch, around the layers of transformers.

The peer of `train_step.py`, as fast as plain PyTorch makes it: fused attention
and AdamW, one gather of the shared position bias for a forward pass (where
transformers' own encoder takes one a layer), head and loss on masked patches
only.
"""

import re
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import Data2VecVisionConfig, Data2VecVisionModel

from d2v_jax.config import Spec
from d2v_jax.optimizer import NO_DECAY

# PyTorch's names, a part at a time -> the paths of our parameters.
_PATHS = (
  (r"model\.encoder\.layer\.\d+", "blocks"),
  (r"model\.encoder\.relative_position_bias\.\w+", "relative_position_bias"),
  (r"model\.embeddings\.patch_embeddings\.projection", "feature_encoder/proj"),
  (r"model\.embeddings\.", ""),
  (r"model\.layernorm", "norm"),
  (r"^head", "head/fc1"),
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
  (r"(norm\d?)\.weight", r"\1/scale"),
  (r"weight$", "kernel"),
  (r"\.", "/"),
  (r"relative_position_bias", "relative_position_bias/table"),
)


def path(name: str) -> str:
  """Our path of a parameter of `Encoder`: 'blocks/norm1/scale'."""
  for pattern, replacement in _PATHS:
    name = re.sub(pattern, replacement, name)
  return name


class Encoder(torch.nn.Module):
  """Student or teacher: transformers' layers, and the student's head."""

  def __init__(self, spec: Spec):
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
      attention_probs_dropout_prob=spec.get("attention_dropout", 0.0),
      drop_path_rate=spec.get("drop_path", 0.0),
      layer_norm_eps=1e-6,
      layer_scale_init_value=spec["layer_scale"],
      use_mask_token=True,
      use_shared_relative_position_bias=True,
      use_mean_pooling=False,
    )
    config._attn_implementation = "sdpa"
    self.model = Data2VecVisionModel(config)
    self.head = torch.nn.Linear(width, width)
    self.grid = (size // spec["patch_size"],) * 2

  def forward(
    self, images: torch.Tensor, mask: torch.Tensor | None = None
  ) -> list[torch.Tensor]:
    """Outputs [B, 1 + N, D] of all layers."""
    x, _ = self.model.embeddings(images, bool_masked_pos=mask)
    bias = self.model.encoder.relative_position_bias(self.grid)
    layers = []
    for layer in self.model.encoder.layer:
      x = layer(x, relative_position_bias=bias)[0]
      layers.append(x)
    return layers


class Step:
  """Student, teacher, optimizer and one update of them all.

  Args:
    config: of the experiment; the part of it that this file knows.
    device: 'cpu' or 'cuda'.
    compiled: put the two forward passes and the backward one through
      torch.compile.

  Raises:
    ValueError: for a config with other targets than ViT data2vec's.
  """

  def __init__(self, config: Spec, device: str, compiled: bool):
    objective, optimizer = config["objective"], config["optimizer"]
    for key, known in (
      ("layer_norms", ("layer",)),
      ("average_norms", ("layer",)),
      ("target", "block"),
      ("loss_scale", "mean"),
      ("head", {"layers": 1}),
    ):
      if objective[key] != known:
        raise ValueError(
          f"torch_step: config.objective.{key} is {objective[key]!r}, but only "
          f"{known!r} is written here; run without the peer."
        )
    self.device = device
    self.student = Encoder(config["encoder"]).to(device)
    _fill(self.student)
    self.teacher = Encoder(config["encoder"]).to(device).eval()
    self.teacher.load_state_dict(self.student.state_dict())
    self.teacher.requires_grad_(False)
    self._weights = list(self.student.parameters())
    self._teacher_weights = list(self.teacher.parameters())
    self._top_k, self._beta = objective["top_k"], objective["loss_beta"]
    self._tau = objective["ema"]["end"]
    self._clip = optimizer["clip_norm"]
    self._autocast = torch.autocast(
      device, torch.bfloat16, enabled=config["compute_dtype"] == "bfloat16"
    )
    groups = {True: [], False: []}
    for name, value in self.student.named_parameters():
      decays = not any(re.search(p, path(name)) for p in NO_DECAY)
      groups[decays].append(value)
    decay = optimizer["weight_decay"]
    self._optimizer = torch.optim.AdamW(
      [
        {"params": groups[True], "weight_decay": decay},
        {"params": groups[False], "weight_decay": 0.0},
      ],
      lr=config["schedule"]["peak"],
      betas=(optimizer["b1"], optimizer["b2"]),
      fused=True,
    )
    self._loss = torch.compile(self.loss) if compiled else self.loss

  def batch(self, batch: dict[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
    """Images [B, C, H, W], mask [B, N] and the masked rows of [B * N]."""
    images = np.ascontiguousarray(batch["inputs"].transpose(0, 3, 1, 2))
    rows = np.flatnonzero(batch["mask"])
    arrays = (images, batch["mask"], rows)
    return tuple(torch.from_numpy(x).to(self.device) for x in arrays)

  def loss(
    self, images: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor
  ) -> torch.Tensor:
    """Teacher and student forward, smooth L1 on the masked patches."""
    with torch.no_grad():
      layers = self.teacher(images)[-self._top_k :]
      width = layers[0].shape[-1:]
      normed = [functional.layer_norm(x.float(), width) for x in layers]
      y = functional.layer_norm(sum(normed) / len(normed), width)[:, 1:]
    x = self.student.model.layernorm(self.student(images, mask)[-1])[:, 1:]
    x = self.student.head(x.flatten(0, 1)[rows])
    y = y.flatten(0, 1)[rows]
    return functional.smooth_l1_loss(x.float(), y, beta=self._beta)

  def __call__(
    self, images: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor
  ) -> tuple[torch.Tensor, torch.Tensor]:
    """One update; returns the loss and the gradient's norm."""
    with self._autocast:
      loss = self._loss(images, mask, rows)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
    self._optimizer.step()
    self._optimizer.zero_grad()
    with torch.no_grad():
      torch._foreach_lerp_(
        self._teacher_weights, self._weights, 1.0 - self._tau
      )
    return loss.detach(), norm


def tree(encoder: Encoder) -> dict[str, Any]:
  """Copies of the parameters in our layout, layers stacked [L, ...]."""
  flat: dict[str, Any] = {}
  for name, value in encoder.named_parameters():
    x = value.detach().float().cpu().numpy()
    if x.ndim == 4:
      x = x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0])
    elif name.endswith("weight") and x.ndim == 2:
      x = x.T
    key = path(name)
    if key.startswith("blocks"):
      flat.setdefault(key, []).append(x)
    else:
      flat[key] = x.copy()
  qkv = [flat.pop(f"blocks/attention/{k}/kernel") for k in _QKV]
  flat["blocks/attention/qkv/kernel"] = np.concatenate(qkv, axis=-1)
  nested: dict[str, Any] = {}
  for key, value in flat.items():
    *parents, leaf = key.split("/")
    node = nested
    for parent in parents:
      node = node.setdefault(parent, {})
    node[leaf] = np.stack(value) if isinstance(value, list) else value
  return nested


_QKV = ("query", "key", "value")


def _fill(encoder):
  """Random values everywhere: zeros and tiny layer scales would hide errors."""
  rng = np.random.default_rng(0)
  for name, value in encoder.named_parameters():
    base = 1.0 if path(name).endswith("scale") else 0.0
    base = 0.1 if "gamma" in path(name) else base
    x = base + 0.02 * rng.standard_normal(value.shape)
    value.data.copy_(torch.from_numpy(x))
