"""What the data and the networks must agree on; no dependencies but NumPy."""

import numpy as np

ConvLayers = tuple[tuple[int, int, int], ...]

# wav2vec 2.0's convolutions: (channels, kernel, stride). 16 kHz become 50 Hz.
CONV_LAYERS: ConvLayers = (
  (512, 10, 5),
  *((512, 3, 2),) * 4,
  *((512, 2, 2),) * 2,
)

# Token ids of every vocabulary; <mask> is its last one.
BOS, PAD, EOS, UNK = 0, 1, 2, 3


def num_frames(
  samples: int | np.ndarray, conv_layers: ConvLayers = CONV_LAYERS
) -> int | np.ndarray:
  """Returns how many frames the feature encoder makes of so many samples.

  Args:
    samples: a number, or an integer array of any shape.
    conv_layers: (channels, kernel, stride) of each convolution, unpadded.

  Returns:
    A number or an array like `samples`; 0 where there are too few samples.

  Raises:
    ValueError: a layer is not three numbers of at least 1.
  """
  length = np.asarray(samples)
  for layer in conv_layers:
    if len(layer) != 3 or min(layer) < 1:
      raise ValueError(
        "num_frames: each of conv_layers must be (channels, kernel, stride), "
        f"all >= 1, got {tuple(layer)}"
      )
    length = np.maximum((length - layer[1]) // layer[2] + 1, 0)
  return length if isinstance(samples, np.ndarray) else int(length)
