"""data2vec on a BEiT-style ViT in NumPy, written from the formulas.

Parameters are read from our tree but nothing of ours is imported. float64.
"""

import math

import numpy as np
from scipy import special


def layer_norm(x, scale=1.0, bias=0.0, eps=1e-5):
  mean = x.mean(-1, keepdims=True)
  variance = ((x - mean) ** 2).mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + eps) * scale + bias


def instance_norm(x, eps=1e-5):
  return layer_norm(x.transpose(0, 2, 1), eps=eps).transpose(0, 2, 1)


def batch_norm(x, eps=1e-5):
  flat = x.reshape(-1, x.shape[-1])
  return layer_norm(flat.T, eps=eps).T.reshape(x.shape)


NORMS = {"layer": layer_norm, "instance": instance_norm, "batch": batch_norm}


def gelu(x):
  return 0.5 * x * (1 + special.erf(x / math.sqrt(2)))


def attention(x, p, heads, bias):
  """x [B, N, D]; bias [heads, N, N] or 0."""
  width = x.shape[-1]
  size = width // heads
  keys = p.get("k_bias", np.zeros(width))
  qkv = x @ p["qkv"]["kernel"] + np.concatenate(
    [p["q_bias"], keys, p["v_bias"]]
  )
  out = np.zeros_like(x)
  for b in range(len(x)):
    for h in range(heads):
      q, k, v = (
        qkv[b, :, i * width + h * size : i * width + (h + 1) * size]
        for i in range(3)
      )
      logits = q @ k.T / math.sqrt(size)
      logits = logits + (bias[h] if np.ndim(bias) else bias)
      weights = special.softmax(logits, axis=-1)
      out[b, :, h * size : (h + 1) * size] = weights @ v
  return out @ p["out"]["kernel"] + p["out"]["bias"]


def mlp(x, p):
  hidden = gelu(x @ p["fc1"]["kernel"] + p["fc1"]["bias"])
  return hidden @ p["fc2"]["kernel"] + p["fc2"]["bias"]


def relative_bias(table, grid):
  """[heads, 1 + N, 1 + N], pair by pair."""
  rows, cols = grid
  n = rows * cols
  bias = np.zeros((table.shape[1], n + 1, n + 1))
  for i in range(n + 1):
    for j in range(n + 1):
      if i == 0 and j == 0:
        row = len(table) - 1
      elif j == 0:
        row = len(table) - 2
      elif i == 0:
        row = len(table) - 3
      else:
        down = (i - 1) // cols - (j - 1) // cols + rows - 1
        across = (i - 1) % cols - (j - 1) % cols + cols - 1
        row = down * (2 * cols - 1) + across
      bias[:, i, j] = table[row]
  return bias


def encoder(params, images, mask, *, patch, heads, pre_norm=True, eps=1e-6):
  """Images [B, H, W, C] -> final tokens [B, N, D] and outputs of each layer."""
  batch, height, width, _ = images.shape
  rows, cols = height // patch, width // patch
  embed = params["feature_encoder"]["proj"]
  tokens = np.zeros((batch, rows * cols, embed["kernel"].shape[1]))
  for r in range(rows):
    for c in range(cols):
      pixels = images[
        :, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch
      ].reshape(batch, -1)
      tokens[:, r * cols + c] = pixels @ embed["kernel"] + embed["bias"]
  if mask is not None:
    tokens[mask] = params["mask_token"][0, 0]
  cls = np.repeat(params["cls_token"], batch, axis=0)
  x = np.concatenate([cls, tokens], axis=1)
  if "position_embedding" in params:
    x = x + params["position_embedding"]
  bias = 0.0
  if "relative_position_bias" in params:
    bias = relative_bias(
      params["relative_position_bias"]["table"], (rows, cols)
    )
  final = params["norm"]["scale"], params["norm"]["bias"], eps
  if not pre_norm:
    x = layer_norm(x, *final)
  outputs = {"attention": [], "ffn": [], "block": []}
  stacked = params["blocks"]
  for i in range(len(stacked["norm1"]["scale"])):
    p = _layer(stacked, i)
    norm1 = p["norm1"]["scale"], p["norm1"]["bias"], eps
    norm2 = p["norm2"]["scale"], p["norm2"]["bias"], eps
    first = layer_norm(x, *norm1) if pre_norm else x
    attended = attention(first, p["attention"], heads, bias)
    attended = attended * p.get("gamma_attention", 1.0)
    x = x + attended
    x = x if pre_norm else layer_norm(x, *norm1)
    second = layer_norm(x, *norm2) if pre_norm else x
    forward = mlp(second, p["mlp"]) * p.get("gamma_ffn", 1.0)
    x = x + forward
    x = x if pre_norm else layer_norm(x, *norm2)
    for name, value in (
      ("attention", attended),
      ("ffn", forward),
      ("block", x),
    ):
      outputs[name].append(value[:, 1:])
  if pre_norm:
    x = layer_norm(x, *final)
  return x[:, 1:], outputs


def loss(
  student,
  teacher,
  images,
  mask,
  *,
  top_k,
  target,
  layer_norms,
  average_norms,
  beta,
  scale,
  **network,
):
  """Targets [B, N, D], predictions [B, N, D] and the loss, one by one."""
  _, layers = encoder(teacher, images, None, **network)
  total = 0.0
  for layer in layers[target][-top_k:]:
    for norm in layer_norms:
      layer = NORMS[norm](layer)
    total = total + layer
  y = total / top_k
  for norm in average_norms:
    y = NORMS[norm](y)
  x, _ = encoder(student, images, mask, **network)
  if student["head"]:
    x = x @ student["head"]["fc1"]["kernel"] + student["head"]["fc1"]["bias"]
  value, count = 0.0, 0
  for b, n in np.argwhere(mask):
    count += 1
    for d in range(y.shape[-1]):
      e = abs(x[b, n, d] - y[b, n, d])
      if beta == 0:
        value += e * e
      elif e < beta:
        value += e * e / (2 * beta)
      else:
        value += e - beta / 2
  return y, x, scale * value / count


def _layer(tree, i):
  if isinstance(tree, dict):
    return {k: _layer(v, i) for k, v in tree.items()}
  return tree[i]
