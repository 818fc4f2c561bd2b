import io
import pickle

import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets as tfds

from d2v_jax.data.images import examples, sources
from d2v_jax.data.images.pixels import Form
from tests.data.images.pictures import encoded, smooth


@pytest.fixture
def folder(tmp_path):
  """Two classes with four files, and a few that are no images."""
  for name in ("b/2.PNG", "a/x/1.jpg", "a/0.JPEG", "b/3.webp"):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(
      encoded(smooth(), file.suffix[1:].upper().replace("JPG", "JPEG"))
    )
  (tmp_path / "b" / "notes.txt").write_text("no image")
  (tmp_path / "b" / ".hidden.jpg").write_text("no image")
  (tmp_path / "empty").mkdir()
  return tmp_path


def test_digits_are_those_of_scikit_learn():
  data = sklearn.datasets.load_digits()
  parts = {name: sources.Digits(name) for name in ("train", "test", "all")}
  assert {k: len(v) for k, v in parts.items()} == {
    "train": 1297,
    "test": 500,
    "all": 1797,
  }

  def rows(source):
    return sorted(
      (source[i]["image"].tobytes(), source[i]["label"])
      for i in range(len(source))
    )

  scaled = np.rint(data.images * 255 / 16).astype(np.uint8)
  truth = sorted(
    (image.tobytes(), int(label))
    for image, label in zip(scaled, data.target, strict=True)
  )
  assert rows(parts["all"]) == truth
  assert sorted(rows(parts["train"]) + rows(parts["test"])) == truth
  first = parts["train"][0]
  assert first["image"].shape == (8, 8, 1)
  assert first["image"].dtype == np.uint8 and type(first["label"]) is int
  assert parts["train"].record_name(3) == "digits/train[3]"
  labels = [parts["test"][i]["label"] for i in range(500)]
  shares = np.bincount(labels) / np.bincount(data.target)
  np.testing.assert_allclose(shares, 500 / 1797, atol=0.01)


def test_folder_with_classes(folder):
  source = sources.ImageFolder(str(folder))
  assert source.class_names == ("a", "b")
  assert [source[i]["label"] for i in range(len(source))] == [0, 0, 1, 1]
  names = [source.record_name(i) for i in range(4)]
  assert names == [
    str(folder / name)
    for name in ("a/0.JPEG", "a/x/1.jpg", "b/2.PNG", "b/3.webp")
  ]
  assert source[0]["image"] == (folder / "a/0.JPEG").read_bytes()


def test_folder_without_labels(folder):
  source = sources.ImageFolder(str(folder), labels=False)
  assert len(source) == 4 and "label" not in source[0]
  assert source.class_names == ()
  assert len(sources.ImageFolder(str(folder / "b"))) == 2
  assert "label" not in sources.ImageFolder(str(folder / "b"))[0]


def test_folder_with_images_beside_classes(folder):
  (folder / "loose.bmp").write_bytes(encoded(smooth(), "BMP"))
  source = sources.ImageFolder(str(folder))
  assert len(source) == 5 and "label" not in source[0]
  with pytest.raises(ValueError, match=r"'loose.bmp'; move them or set labels"):
    sources.ImageFolder(str(folder), labels=True)


def test_folder_follows_links(folder, tmp_path_factory):
  other = tmp_path_factory.mktemp("other")
  (other / "c").symlink_to(folder / "a")
  assert len(sources.ImageFolder(str(other))) == 2


def test_folder_errors(folder):
  with pytest.raises(ValueError, match="is not a folder; check the path"):
    sources.ImageFolder(str(folder / "missing"))
  with pytest.raises(ValueError, match=r"no images .* one of: .bmp, .gif"):
    sources.ImageFolder(str(folder / "empty"))


# Unregistered, so that it is found by its files, as a user's prepared data is.
class TinyImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  VERSION = tfds.core.Version("1.0.0")
  # TFDS 4.9.10 looks for the code with the package importlib_resources, which
  # it does not declare as a requirement.
  code_path = None

  def _info(self):
    features = {
      "picture": tfds.features.Image(shape=(None, None, 3)),
      "label": tfds.features.ClassLabel(num_classes=3),
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for i in range(9):
      data = io.BytesIO(encoded(smooth(seed=i), "PNG"))
      yield i, {"picture": data, "label": i % 3}


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
  path = tmp_path_factory.mktemp("tfds")
  builder = TinyImages(data_dir=str(path), file_format="array_record")
  builder.download_and_prepare()
  return str(path)


def test_tfds(tfds_dir):
  source = sources.TfdsImages(
    "tiny_images", "train[:5]", tfds_dir, image_key="picture"
  )
  assert len(source) == 5
  assert source.record_name(2) == "tiny_images/train[:5][2]"
  decoded = examples.DecodedImages(pickle.loads(pickle.dumps(source)), Form(3))
  known = {smooth(seed=i).tobytes(): i % 3 for i in range(9)}
  for i in range(5):
    assert isinstance(source[i]["image"], bytes)
    assert known[decoded[i]["image"].tobytes()] == source[i]["label"]


def test_tfds_without_labels(tfds_dir):
  source = sources.TfdsImages(
    "tiny_images", "train", tfds_dir, "picture", label_key="species"
  )
  assert set(source[0]) == {"image"}


def test_tfds_errors(tfds_dir, tmp_path):
  with pytest.raises(ValueError, match="choose image_key from: label, picture"):
    sources.TfdsImages("tiny_images", "train", tfds_dir)
  with pytest.raises(ValueError, match="Unknown split 'dev'"):
    sources.TfdsImages("tiny_images", "dev", tfds_dir, "picture")
  for builder in ("mnist", "no_such_thing"):
    with pytest.raises(ValueError, match=r"download_and_prepare\(\)"):
      sources.TfdsImages(builder, "train", str(tmp_path))


def test_unknown_split_of_digits():
  with pytest.raises(ValueError, match="choose one of: all, test, train"):
    sources.SOURCES["digits"](split="dev")
