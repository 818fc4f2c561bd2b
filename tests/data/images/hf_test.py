import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout, pipeline
from d2v_jax.data.images.dataset import ImageData
from tests.data.hf.sets import hf, make
from tests.data.images.pictures import encoded, smooth

__all__ = ["hf"]  # a fixture


def build(given=None, **source):
  return config_lib.call(
    ImageData,
    {
      "source": source,
      "augment": {"crop_scale": None, "color_jitter": None, "flip": 0.0},
    },
    "config.data",
    run={
      "inputs": layout.ImageInputs(image_size=8, patch_size=2),
      "given": given,
    },
  )


def pictures(hf, number):
  images = [smooth(8, 8, seed=k) for k in range(number)]
  stored = [{"bytes": encoded(x, "PNG"), "path": None} for x in images]
  stored[-1] = {"bytes": stored[-1]["bytes"][:60], "path": None}  # cut short
  labels = [k % 2 for k in range(number)]
  names = hf.ClassLabel(names=["cat", "dog"])
  dataset = make(
    {"img": stored, "label": labels}, {"img": hf.Image(), "label": names}
  )
  return [np.asarray(image) for image in images], dataset


def test_a_parquet_file(hf, tmp_path):
  images, dataset = pictures(hf, 6)
  path = str(tmp_path / "x.parquet")
  dataset.to_parquet(path)
  data = build(name="hf", path=path, split="train")
  data.check()
  source, transform = data.training()
  assert source.class_names == ("cat", "dog") and len(source) == 6
  for k in range(5):
    example = source[k]
    np.testing.assert_array_equal(example["image"], images[k])
    assert example["label"] == k % 2 and example["record"] == k
  # The cut one is replaced, and named.
  assert source[5]["record"] == 0
  assert source.record_name(5) == f"{path}/train[5]"
  assert source.problem(5) == "cut short"

  def take(start, count, workers):
    batches = pipeline.train_batches(
      source,
      transform,
      seed=0,
      batch_size=4,
      start_step=start,
      num_threads=2,
      num_workers=workers,
    )
    try:
      return [next(batches)["inputs"] for _ in range(count)]
    finally:
      batches.close()

  # Workers open the file anew; a run goes on where it stopped.
  np.testing.assert_array_equal(take(3, 2, 1), take(0, 5, 0)[3:])


def test_arrays_and_what_is_given(hf):
  images, dataset = pictures(hf, 3)
  source = build({"train": dataset}, name="given").training().source
  np.testing.assert_array_equal(source[1]["image"], images[1])
  assert source.class_names == ("cat", "dog")
  kind = hf.List(hf.List(hf.Value("uint8")))
  arrays = make(
    {"image": [x[..., 0].tolist() for x in images]}, {"image": kind}
  )
  source = build({"train": arrays}, name="given").training().source
  np.testing.assert_array_equal(source[1]["image"][..., 0], images[1][..., 0])
  assert "label" not in source[1]
  flat = make({"image": [[1, 2]]}, {"image": hf.List(hf.Value("uint8"))})
  source = build({"train": flat}, name="given").training().source
  with pytest.raises(
    ValueError, match=r"its shape is \[2\]; it must be \[H, W"
  ):
    source[0]
  stream = arrays.to_iterable_dataset()
  with pytest.raises(
    ConfigError, match="IterableDataset, which gives no record"
  ):
    build({"train": stream}, name="given").training()


def test_errors_name_the_field(hf):
  with pytest.raises(
    ConfigError, match=r"source: HfRows: streaming=True gives"
  ):
    build(name="hf", path="a/b", streaming=True).training()
  with pytest.raises(ConfigError, match=r"source.colum: unknown field"):
    build(name="hf", path="a/b", colum="x").check()
