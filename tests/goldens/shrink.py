"""Makes a case small enough for the repository.

  python -m tests.goldens.shrink FOLDER/vision_v1_e.npz tests/goldens

Trees of gradients and of updated parameters become fingerprints (`files.py`),
and arrays that no test reads are left out. No number is changed.
"""

import json
import pathlib
import re
import sys

import numpy as np

from tests.goldens import files

TREES = ("grad", "param1", "teacher1", "teacher3")
# What tests read, apart from those.
_KEPT = (
  r"(param|buffer|teacher)/.*",
  r"features/(x|x_with_cls|(layer|layer_result)_\d+)",
  r"loss|ema_decay|grad_norm|param3_fingerprint",
  r"f64/(loss|grad_norm|step0/[xy])",
  r"step0/[xy]",
  r"step\d/(input/.*|mask|loss|target_var|pred_var|feature_padding_mask)",
  r"step\d/(ids_keep|decoder_noise_full)",
)
# What the file says of its case and tests do not ask.
_LEFT_OUT = ("arrays", "f32_vs_f64", "f64_grad_l2_norm_step0")


def shrink(source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Writes the small case into a folder, under the same name."""
  meta, arrays = files.load(source)
  kept = {
    name: value
    for name, value in arrays.items()
    if any(re.fullmatch(pattern, name) for pattern in _KEPT)
  }
  for tree in TREES:
    members = files.group(arrays, f"{tree}/")
    kept[f"{tree}_fingerprint"] = files.fingerprint(members)
  meta = {name: v for name, v in meta.items() if name not in _LEFT_OUT}
  path = folder / source.name
  np.savez_compressed(path, meta=json.dumps(meta), **kept)
  return path


if __name__ == "__main__":
  *sources, target = map(pathlib.Path, sys.argv[1:])
  for file in sources:
    written = shrink(file, target)
    print(f"{written}: {written.stat().st_size / 1e6:.2f} MB")
