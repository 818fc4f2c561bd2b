"""data2vec on Fashion-MNIST (28x28 grey images of clothes) through TFDS.

Prepare the data once, with the internet and TensorFlow, which TFDS needs to
encode the images; an environment of its own will do, as training needs neither:

  python -c "import tensorflow_datasets as tfds; tfds.builder('fashion_mnist',
  file_format='array_record').download_and_prepare()"
  d2v train fashion_mnist --workdir=RUN

Source: image_folder.py with 7 x 7 patches of 4 x 4 pixels, no colour jitter
(the images are grey) and milder crops (the objects fill the frame).
"""

import ml_collections

from configs import image_folder


def get_config() -> ml_collections.ConfigDict:
  """A small ViT on 7 x 7 patches."""
  c = image_folder.get_config()
  source = dict(name="tfds", builder="fashion_mnist")
  c.data = dict(
    source=dict(**source, split="train"),
    channels=1,
    augment=dict(crop_scale=(0.5, 1.0), flip=0.5, color_jitter=None),
    mask=dict(name="beit_blocks", ratio=0.6, min_block=4),
    num_threads=4,
  )
  c.encoder.image_size = 28
  c.encoder.mean = (0.286,)
  c.encoder.std = (0.353,)
  c.evaluation.train = dict(**source, split="train")
  c.evaluation.test = dict(**source, split="test")
  return c
