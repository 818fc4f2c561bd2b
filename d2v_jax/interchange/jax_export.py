"""The feature function as one file, without this library: jax.export.

import jax
function = jax.export.deserialize(bytearray(open("features.jax", "rb").read()))
features = function.call(inputs)
"""

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax.data.layout import ImageInputs
from d2v_jax.evaluators.features import Features, pool_features
from d2v_jax.interchange.model import channels
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.pretrained import Pretrained

PLATFORMS = ("cpu", "cuda", "tpu")


def write(
  dest: epath.PathLike,
  model: Pretrained,
  *,
  layers: tuple[int, ...] | str | None = None,
  pool: str = "mean",
  length: int | None = None,
) -> tuple[str, ...]:
  """Writes inputs -> features, the parameters in it, for any batch size.

  Inputs are bytes of images [B, H, W, C], utterances float32 [B, T] of zero
  mean and unit variance at 16 kHz without padding, their log-mel frames [B, H,
  W, 1], normalised as config.data says, signals [B, T, C] likewise at their
  rate, or token ids int32 [B, N] where 1 is padding. JAX reads such a file for
  half a year of its releases, and longer as far as it goes.

  Args:
    dest: the file; there must be none.
    model: the network.
    layers: as for `Features`.
    pool: as for `Features`.
    length: samples T or tokens N of all inputs; None leaves it free.

  Returns:
    What a user of the file must know, a line each.

  Raises:
    ValueError: the file is there, or the arguments do not fit the network.
  """
  dest = epath.Path(dest)
  if dest.exists():
    raise InterchangeError(
      f"{dest} exists; nothing is overwritten, choose another name."
    )
  choice = Features(model.model, layers, pool)
  # Constants of the function: on no mesh.
  params = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), model.params)

  def features(inputs):
    batch = model.encoder.prepare({"inputs": inputs})
    return pool_features(
      model.encoder(params, batch), choice, model.encoder.grid
    )

  spec = _spec(model, length)
  exported = jax.export.export(jax.jit(features), platforms=PLATFORMS)(spec)
  dest.parent.mkdir(parents=True, exist_ok=True)
  dest.write_bytes(exported.serialize())
  (out,) = exported.out_avals
  return (
    f"takes {_signature(spec)} and gives {_signature(out)}, on "
    f"{', '.join(PLATFORMS)}",
  )


def _spec(model: Pretrained, length: int | None) -> jax.ShapeDtypeStruct:
  """Shape of the inputs, with what is free in it as a symbol."""
  inputs = model.encoder.inputs
  limits: list[str] = []
  if isinstance(inputs, ImageInputs):
    if length is not None:
      raise InterchangeError("images have no length; leave it out.")
    count = channels(inputs.patch_size, model.params)
    example = inputs.example(channels=count)["inputs"]
    sizes = [str(n) for n in example.shape[1:]]
  else:
    example = inputs.example(length=length)["inputs"]
    sizes = [str(length), *map(str, example.shape[2:])]
    if length is None:
      sizes[0], limits = "n", [f"n >= {inputs.shortest}"]
      if inputs.longest is not None:
        limits.append(f"n <= {inputs.longest}")
  shape = jax.export.symbolic_shape(
    ", ".join(["b", *sizes]), constraints=limits
  )
  return jax.ShapeDtypeStruct(shape, example.dtype)


def _signature(x):
  return f"{x.dtype} [{', '.join(map(str, x.shape))}]"
