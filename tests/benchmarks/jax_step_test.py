"""The operations of a step, counted and by formulas; a GPU against the CPU."""

import itertools
import pathlib

import jax
import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.jax_step import Step, count_operations

# The layers, their heads and decoders have no boundaries: the count is exact.
# Convolutions with strides have, in the gradient by their input.
BOUNDARY = {"vision": 0, "text": 0, "speech": 1e-3}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
  monkeypatch.chdir(pathlib.Path(__file__).parents[2])


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(workloads.MODELS))
def test_operations_of_a_step(model):
  config = workloads.make_config(model, None, 2, "float32", False)
  batch = workloads.make_batch(config, 5.0, 512)
  formula = version_2 if workloads.is_version_2(config) else version_1
  expected = 2 * 2 * formula(config, batch)
  boundary = BOUNDARY[config["modality"]]
  found = count_operations(config, batch)
  assert expected <= found <= expected * (1 + boundary)


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["vit_tiny", "speech_tiny_d2v2", "text_tiny"])
def test_the_gpu_computes_what_the_cpu_does(model):
  config = workloads.make_config(model, None, 2, "float32", False)
  batch = workloads.make_batch(config, 0.5, 32)
  found = []
  for device in (jax.devices()[0], jax.devices("cpu")[0]):
    with (
      jax.default_device(device),
      jax.default_matmul_precision("float32"),  # a GPU's default has 10 bits
    ):
      step = Step(config, batch)
      found.append([tuple(map(float, step())) for _ in range(2)])
  np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def version_1(config, batch):
  """Multiply-adds for one example: teacher once, student three times."""
  encoder, n = config["encoder"], batch["mask"].shape[-1]
  once, others = embedding(config, batch)
  layers = config["objective"]["head"]["layers"]
  width = encoder["width"]
  # D -> D, or D -> 2D -> ... -> 2D -> D.
  head = width**2 if layers == 1 else (4 + 4 * (layers - 2)) * width**2
  rows = n + (config["modality"] == "vision")  # the CLS token
  network = positions(config, n) + encoder["depth"] * layer(encoder, rows)
  return once + others + 4 * network + 3 * n * head


def version_2(config, batch):
  """Multiply-adds for one example and its M masks.

  The teacher encodes N tokens once; the student V tokens M times, and the
  decoder N tokens M times, with a backward pass that is twice the forward one.
  """
  encoder = config["encoder"]
  _, m, n = batch["mask"].shape
  v = batch["keep_ids"].shape[-1]
  cls = config["modality"] == "vision"
  once, others = embedding(config, batch)
  depth = encoder["prenet_depth"] + encoder["depth"]
  teacher = positions(config, n) + depth * layer(encoder, n + cls)
  # Positions are convolved over all frames, with the hidden ones set to 0.
  student = positions(config, n) + depth * layer(encoder, v + cls)
  return once + others + teacher + 3 * m * (student + decoder(config, n))


def embedding(config, batch):
  """Teacher's and student's, once for each example.

  Nothing is differentiated by raw inputs, so a first product is done twice.
  """
  encoder = config["encoder"]
  width = encoder["width"]
  if config["modality"] == "text":
    return 0, 0  # rows of a table
  if config["modality"] == "vision":
    patches = batch["mask"].shape[-1] * encoder["patch_size"] ** 2 * 3 * width
    return patches, 2 * patches
  # The teacher takes the student's.
  products, length, before = [], batch["inputs"].shape[1], 1
  for channels, kernel, stride in encoder["conv_layers"]:
    length = (length - kernel) // stride + 1
    products.append(length * kernel * before * channels)
    before = channels
  products.append(length * before * width)
  return 0, 2 * products[0] + 3 * sum(products[1:])


def positions(config, n):
  """Grouped convolutions of speech over n frames."""
  if config["modality"] != "speech":
    return 0
  width = config["encoder"]["width"]
  return 5 * n * 19 * width * width // 16


def layer(encoder, rows):
  """Four products with D x D, two with D x 4D, and the attention."""
  width = encoder["width"]
  return rows * (4 + 2 * 4) * width**2 + 2 * rows**2 * width


def decoder(config, n):
  """Grouped convolutions over n places, and the map back to D."""
  spec, outer = config["objective"]["decoder"], config["encoder"]["width"]
  width = spec["width"]
  taps = spec["kernel"] ** (2 if config["modality"] == "vision" else 1)
  total, before = 0, outer
  for _ in range(spec["layers"]):
    total += n * taps * before * width // spec["groups"]
    before = width
  widths = [width] + [2 * width] * (spec["projection_layers"] - 1) + [outer]
  return total + n * sum(a * b for a, b in itertools.pairwise(widths))
