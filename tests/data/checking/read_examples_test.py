import numpy as np
import pytest

from d2v_jax.data.checking.read_examples import read
from tests.data import dataset_test


def reading(modality, indices=range(20), **changes):
  dataset, examples = dataset_test.build(modality, **changes)
  return dataset, examples, read(dataset, examples, list(indices))


def test_images():
  # 16 patches, of which three masks leave 6 each.
  _, examples, found = reading("vision")
  assert (found.total, found.read) == (len(examples.source), 20)
  assert found.lengths == {None: (16, 1297)}
  assert (found.num_masks, found.visible, found.fit) == (3, 6, None)
  assert found.hidden.tolist() == [10 / 16] * 60
  assert found.kept.tolist() == [1.0] * 20
  assert found.threads == 16
  assert found.epoch_seconds == found.seconds / 20 * 1297


def test_without_masks():
  augment = {"crop_scale": (0.5, 0.5), "crop_ratio": (1.0, 1.0)}
  found = reading("vision", mask=None, augment=augment)[2]
  assert (found.num_masks, found.hidden.size, found.visible) == (0, 0, None)
  # Half of 64 pixels as a square of whole ones: 6 x 6.
  assert found.kept.tolist() == [36 / 64] * 20


@pytest.mark.parametrize("modality", ["speech", "text"])
def test_lengths_of_batches(modality):
  dataset, examples, found = reading(modality)
  lengths = np.array(examples.source.lengths)
  short, long = dataset.buckets.lengths
  # Convolutions of 40 by 20 and of 16 by 16.
  tokens = {4800: 14, 8000: 24, 32: 32, 64: 64}
  assert found.lengths == {
    short: (tokens[short], int((lengths <= short).sum())),
    long: (tokens[long], int((lengths > short).sum())),
  }
  held = np.where(lengths <= short, short, long)
  kept = np.minimum(lengths, held)
  np.testing.assert_allclose(found.fit.padding, 1 - kept.sum() / held.sum())
  np.testing.assert_allclose(
    found.fit.cropped, 1 - kept.sum() / lengths.sum(), atol=1e-12
  )
  assert found.fit.best[-1] == lengths.max()
  assert found.fit.best_padding <= found.fit.padding + 1e-9
  assert found.kept.tolist() == (kept / lengths)[:20].tolist()


@pytest.mark.parametrize("modality", ["speech", "text"])
def test_what_is_hidden_of_padded_examples(modality):
  dataset, examples, found = reading(modality)
  shares = []
  for k in range(20):
    example = examples.source[k]
    bucket = dataset.buckets.assign(examples.source.lengths[k])
    example = {**example, "length": dataset.buckets.lengths[bucket]}
    row = examples.transform(example, np.random.default_rng(k))
    padding = row["padding"] if "padding" in row else row["inputs"] == 1
    shares += [mask.sum() / (~padding).sum() for mask in row["mask"]]
  assert found.hidden.tolist() == shares and len(shares) == 60


def test_an_example_that_cannot_be_read():
  dataset, examples = dataset_test.build("vision")

  class Broken(type(examples.source)):
    def __getitem__(self, index):
      raise KeyError("image")

  broken = Broken(dataset.records(), dataset.form)
  with pytest.raises(
    ValueError, match=r"cannot read digits/train\[3\]: KeyError: 'image'"
  ):
    read(dataset, examples._replace(source=broken), [3])
