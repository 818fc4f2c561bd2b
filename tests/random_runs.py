"""Workdirs of tiny runs whose weights are random."""

import json

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.modalities import MODALITIES
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from tests import runs

CONFIGS = {
  "vision": "tiny",
  "speech": "tiny_speech",
  "spectrogram": "tiny_spectrogram",
  "signal": "tiny_signal",
  "text": "tiny_text",
}
BATCHES = {
  "vision": {"inputs": np.zeros((1, 8, 8, 1), np.uint8)},
  "speech": {"inputs": np.zeros((1, 4000), np.float32)},
  "spectrogram": {"inputs": np.zeros((1, 24, 16, 1), np.float32)},
  "signal": {"inputs": np.zeros((1, 40, 3), np.float32)},
  "text": {"inputs": np.zeros((1, 16), np.int32)},
}
ITEMS = ("params", "teacher_params")


def save(workdir, modality, **encoder):
  """A run of random weights, whose teacher is not its student."""
  config = config_file.load(f"{runs.ROOT}/tests/configs/{CONFIGS[modality]}.py")
  config = config_lib.plain(config)
  config["encoder"] |= encoder
  network = config_lib.build(
    config["encoder"], MODALITIES[modality].encoders, "config.encoder"
  )
  shapes = jax.eval_shape(network.init, jax.random.key(0), BATCHES[modality])
  rng = np.random.default_rng(0)

  def weights(shape):
    return jax.numpy.asarray(rng.normal(0, 0.2, shape.shape), "float32")

  items = {k: jax.tree.map(weights, shapes) for k in ITEMS}
  checkpoints = Checkpoints(workdir / "checkpoints")
  checkpoints.save(3, items, {})
  checkpoints.close()
  record = {"config": config, "starts": []}
  (workdir / "run.json").write_text(json.dumps(record))
  return workdir
