"""data2vec 2.0 on images in NumPy, written from the formulas, row by row.

Parameters are read from our tree but nothing of ours is imported. float64.
"""

import math

import numpy as np

from tests.reference import data2vec as version_1


def sincos(grid, width):
  """Half of the numbers are for the column, half for the row."""
  table = np.zeros((grid[0] * grid[1], width))
  quarter = width // 4
  for n in range(len(table)):
    row, column = n // grid[1], n % grid[1]
    for half, place in enumerate((column, row)):
      for i in range(quarter):
        angle = place / 10000 ** (i / quarter)
        table[n, 2 * half * quarter + i] = math.sin(angle)
        table[n, (2 * half + 1) * quarter + i] = math.cos(angle)
  return table


def alibi(ids, scale, heads, grid, extra):
  """[heads, E + V, E + V]; only for heads that are a power of two."""
  size = extra + len(ids)
  bias = np.zeros((heads, size, size))
  for h in range(heads):
    slope = 2.0 ** (-8.0 * (h + 1) / heads)
    slope *= max(scale[h % len(scale)], 0.0)
    for i, a in enumerate(ids):
      for j, b in enumerate(ids):
        rows = abs(a // grid[1] - b // grid[1])
        columns = abs(a % grid[1] - b % grid[1])
        bias[h, extra + i, extra + j] = -slope * (rows + columns)
  return bias


def encoder(params, image, ids, *, patch, heads, eps=1e-6):
  """One image [H, W, C] -> tokens [V, D], CLS [D], FFN and block outputs."""
  height, width, _ = image.shape
  grid = (height // patch, width // patch)
  embed = params["feature_encoder"]["proj"]
  tokens = []
  for r in range(grid[0]):
    for c in range(grid[1]):
      pixels = image[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
      tokens.append(pixels.reshape(-1) @ embed["kernel"] + embed["bias"])
  tokens = np.array(tokens) + sincos(grid, len(tokens[0]))
  x = np.concatenate([params["cls_token"][0], tokens[ids]])
  bias = 0.0
  if "alibi_scale" in params:
    bias = alibi(ids, params["alibi_scale"], heads, grid, 1)
  norm = params["prenet_norm"]
  x = version_1.layer_norm(x, norm["scale"], norm["bias"], eps)
  outputs = {"ffn": [], "block": []}
  for part in ("prenet", "blocks"):
    stacked = params.get(part)
    depth = 0 if stacked is None else len(stacked["norm1"]["scale"])
    for i in range(depth):
      p = version_1._layer(stacked, i)
      attended = version_1.attention(x[None], p["attention"], heads, bias)[0]
      x = version_1.layer_norm(
        x + attended, p["norm1"]["scale"], p["norm1"]["bias"], eps
      )
      forward = version_1.mlp(x, p["mlp"])
      x = version_1.layer_norm(
        x + forward, p["norm2"]["scale"], p["norm2"]["bias"], eps
      )
      if part == "blocks":
        outputs["ffn"].append(forward[1:])
        outputs["block"].append(x[1:])
  return x[1:], x[0], outputs


def convolution(x, kernel, bias, groups):
  """x [H, W, C] with kernel [k, k, C / groups, D]: place by place."""
  height, width, _ = x.shape
  size, _, channels, out = kernel.shape
  y = np.zeros((height, width, out))
  for row in range(height):
    for column in range(width):
      for d in range(out):
        first = d // (out // groups) * channels
        total = bias[d]
        for i in range(size):
          for j in range(size):
            r, c = row + i - size // 2, column + j - size // 2
            if 0 <= r < height and 0 <= c < width:
              seen = x[r, c, first : first + channels]
              total += seen @ kernel[i, j, :, d]
        y[row, column, d] = total
  return y


def decoder(params, tokens, ids, grid, *, groups, residual):
  """Visible tokens [V, D] -> all tokens [N, D], with 0 at hidden places."""
  x = np.zeros((grid[0] * grid[1], tokens.shape[1]))
  x[ids] = tokens
  layers = sum(name.startswith("conv") for name in params)
  for i in range(layers):
    conv = params[f"conv{i}"]
    y = convolution(
      x.reshape(*grid, -1), conv["kernel"], conv["bias"], groups
    ).reshape(len(x), -1)
    y = version_1.gelu(version_1.layer_norm(y))
    x = x + y if residual and x.shape == y.shape else y
  for i in range(len(params) - layers):
    proj = params[f"proj{i + 1}"]
    x = version_1.gelu(x) if i else x
    x = x @ proj["kernel"] + proj["bias"]
  return x


def loss(
  student,
  teacher,
  images,
  keep_ids,
  *,
  top_k,
  target,
  layer_norms,
  average_norms,
  beta,
  scale,
  cls_weight,
  groups,
  residual,
  **network,
):
  """Targets [B, N, D], predictions [B * M, N, D] and the loss, one by one."""
  patch = network["patch"]
  grid = (images.shape[1] // patch, images.shape[2] // patch)
  everything = np.arange(grid[0] * grid[1])
  targets, predictions, cls = [], [], []
  for image in images:
    _, _, layers = encoder(teacher, image, everything, **network)
    average = 0.0
    for layer in layers[target][-top_k:]:
      for norm in layer_norms:
        layer = version_1.NORMS[norm](layer[None])[0]
      average = average + layer / top_k
    for norm in average_norms:
      average = version_1.NORMS[norm](average[None])[0]
    targets.append(average)
  total, count, cls_total = 0.0, 0, 0.0
  for b, versions in enumerate(keep_ids):
    for ids in versions:
      tokens, first, _ = encoder(student, images[b], ids, **network)
      x = decoder(
        student["decoder"],
        tokens,
        ids,
        grid,
        groups=groups,
        residual=residual,
      )
      predictions.append(x)
      cls.append(first)
      for n in sorted(set(everything) - set(ids)):
        count += 1
        total += sum(_error(e, beta) for e in x[n] - targets[b][n])
      mean = targets[b].mean(0)
      cls_total += sum(_error(e, beta) for e in first - mean)
  value = scale * (total / count + cls_weight * cls_total / len(cls))
  return np.array(targets), np.array(predictions), value


def _error(e, beta):
  e = abs(e)
  if beta == 0:
    return e * e
  return e * e / (2 * beta) if e < beta else e - beta / 2
