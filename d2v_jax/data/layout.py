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
  num_samples: int | np.ndarray, conv_layers: ConvLayers = CONV_LAYERS
) -> int | np.ndarray:
  """Frames that convolutions without padding make of a waveform.

  Args:
    num_samples: length in samples, a number or an integer array.
    conv_layers: (channels, kernel, stride) of each convolution.

  Returns:
    Length in frames, of the same kind; 0 when it is too short for one.
  """
  length = num_samples
  for _, kernel, stride in conv_layers:
    length = np.maximum((length - kernel) // stride + 1, 0)
  return int(length) if np.ndim(num_samples) == 0 else length
