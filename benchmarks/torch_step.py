"""data2vec's step in PyTorch, around the layers of transformers.

The peer of `train_step.py`, as fast as plain PyTorch makes it: fused attention
and AdamW, head and loss on masked tokens only.
"""

import re
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks import (
  torch_layers,
  torch_speech,
  torch_text,
  torch_visible,
  torch_vision,
)
from d2v_jax.config import Spec
from d2v_jax.objectives import losses

_NETWORKS = {
  "vit": torch_vision.Network,
  "visible_vit": torch_visible.Network,
  "speech": torch_speech.Network,
  "text": torch_text.Network,
}
_STACKS = ("blocks", "prenet")
# After those of each network: PyTorch's names -> ours.
_PATHS = (
  (r"(norm\d*)\.weight$", r"\1/scale"),
  (r"weight$", "kernel"),
  (r"\.", "/"),
)


class Step:
  """Student, teacher, optimizer and one update of them all.

  Args:
    config: of the experiment; the part of it that this file knows.
    device: 'cpu' or 'cuda'.
    compiled: put the two forward passes and the backward one through
      torch.compile.

  Raises:
    ValueError: for a config that is not data2vec's.
  """

  def __init__(self, config: Spec, device: str, compiled: bool):
    objective, optimizer = config["objective"], config["optimizer"]
    network = _NETWORKS[config["encoder"]["name"]]
    torch_layers.check(
      "objective.targets", objective["targets"], output=network.TARGET
    )
    torch_layers.check(
      "objective.ema", objective["ema"], tracked=network.TRACKED
    )
    self.device = device
    self.student = network(
      config["encoder"], objective.get("decoder") or objective["head"]["layers"]
    )
    self._fill()
    self.student.to(device)
    self.teacher = self.student.teacher().eval().requires_grad_(False)
    weights = dict(self.student.named_parameters())
    self._weights = list(weights.values())
    tracked = dict(self.teacher.named_parameters())
    self._teacher_weights = list(tracked.values())
    self._tracked = [weights[name] for name in tracked]
    self._objective = objective
    self._clip = optimizer["clip_norm"]
    self._autocast = torch.autocast(
      device, torch.bfloat16, enabled=config["compute_dtype"] == "bfloat16"
    )
    self._optimizer = self._make_optimizer(optimizer, config["schedule"])
    self._loss = torch.compile(self.loss) if compiled else self.loss

  def batch(self, batch: dict[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
    """The masked rows of [B * M * N], and the arguments of the network."""
    rows = np.flatnonzero(batch["mask"])
    arrays = (rows, *self.student.arrays(batch))
    return tuple(torch.from_numpy(x).to(self.device) for x in arrays)

  def loss(self, rows: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
    """Both forward passes and the regression at the masked rows."""
    layers, x, *cls = self.student(self.teacher, *inputs)
    spec, targets = self._objective, self._objective["targets"]
    with torch.no_grad():
      top = [x.float() for x in layers[-targets["top_k"] :]]
      for norm in targets["layer_norms"]:
        top = [_NORMS[norm](x) for x in top]
      y = sum(top) / len(top)
      for norm in targets["average_norms"]:
        y = _NORMS[norm](y)
      num_masks, length = len(x) // len(y), y.shape[1]
      hidden = y[rows // (num_masks * length), rows % length]
    x = self.student.head(x.flatten(0, 1)[rows])
    loss = self._error(x, hidden) / rows.shape[0]
    if cls and spec["cls_loss"]:
      mean = y.mean(1).repeat_interleave(num_masks, 0)
      loss = loss + self._error(cls[0], mean) * (spec["cls_loss"] / len(mean))
    return loss

  def _error(self, x, y):
    """Sum over all elements, scaled by the width."""
    beta = self._objective["loss_beta"]
    scale = losses.loss_scale(self._objective["loss_scale"], y.shape[-1])
    # PyTorch's smooth L1 with beta 0 would be L1, data2vec's is the square.
    if beta:
      error = functional.smooth_l1_loss(
        x.float(), y, beta=beta, reduction="sum"
      )
    else:
      error = functional.mse_loss(x.float(), y, reduction="sum")
    return error * scale

  def __call__(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One update; returns the loss and the gradient's norm."""
    with self._autocast:
      loss = self._loss(*batch)
    loss.backward()
    if self._clip is None:
      norm = torch.nn.utils.get_total_norm([x.grad for x in self._weights])
    else:
      norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
    self._optimizer.step()
    self._optimizer.zero_grad()
    with torch.no_grad():
      torch._foreach_lerp_(
        self._teacher_weights,
        self._tracked,
        1.0 - self._objective["ema"]["end"],
      )
    return loss.detach(), norm

  def tree(self, module: torch.nn.Module) -> dict[str, Any]:
    """Copies of the student's or the teacher's parameters in our layout."""
    flat: dict[str, Any] = {}
    for name, value in module.named_parameters():
      key = self._path(name)
      x = value.detach().float().cpu().numpy().copy()
      if x.ndim == 4:
        x = x.transpose(2, 3, 1, 0)
        x = x if "conv" in key else x.reshape(-1, x.shape[-1])
      elif "kernel" in key:
        x = x.T
      if key.split("/")[0] in _STACKS:
        flat.setdefault(key, []).append(x)
      else:
        flat[key] = x
    if "blocks/attention/query/kernel" in flat:
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

  def _path(self, name):
    """Our path of a parameter: 'blocks/norm1/scale'."""
    for pattern, replacement in (*self.student.PATHS, *_PATHS):
      name = re.sub(pattern, replacement, name)
    return name

  def _fill(self):
    """Random values: zeros and tiny layer scales would hide errors."""
    rng = np.random.default_rng(0)
    for name, value in self.student.named_parameters():
      path = self._path(name)
      base = 1.0 if path.endswith("scale") else 0.0
      base = 0.1 if "gamma" in path else base
      x = base + 0.02 * rng.standard_normal(value.shape)
      value.data.copy_(torch.from_numpy(x))

  def _make_optimizer(self, spec, schedule):
    groups = {True: [], False: []}
    for name, value in self.student.named_parameters():
      path = self._path(name)
      decays = not any(re.search(p, path) for p in spec["no_decay"])
      groups[decays].append(value)
    decay = spec["weight_decay"]
    return torch.optim.AdamW(
      [
        {"params": values, "weight_decay": decay if decays else 0.0}
        for decays, values in groups.items()
        if values
      ],
      lr=schedule["peak"],
      betas=(spec["b1"], spec["b2"]),
      eps=spec["eps"],
      fused=True,
    )


def _layer_norm(x):
  return functional.layer_norm(x, x.shape[-1:])


def _instance_norm(x):
  return functional.instance_norm(x.transpose(1, 2)).transpose(1, 2)


_NORMS = {"layer": _layer_norm, "instance": _instance_norm}
_QKV = ("query", "key", "value")
