"""Components are those of scikit-learn, and colours stand for them."""

import re

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from d2v_jax.report import token_maps
from tests import random_runs
from tests.report import workdirs


def test_principal_components():
  rng = np.random.default_rng(0)
  tokens = rng.normal(size=(50, 8)) * np.arange(1, 9)
  found, shares = token_maps.principal(tokens.astype(np.float32))
  expected = PCA(3).fit(tokens)
  np.testing.assert_allclose(
    np.abs(found), np.abs(expected.transform(tokens)), rtol=1e-4, atol=1e-4
  )
  np.testing.assert_allclose(
    shares, expected.explained_variance_ratio_, rtol=1e-5
  )


def test_fewer_components_than_three():
  found, shares = token_maps.principal(np.array([[0.0], [1.0], [5.0]]))
  np.testing.assert_allclose(found, [[-2, 0, 0], [-1, 0, 0], [3, 0, 0]])
  np.testing.assert_allclose(shares, [1, 0, 0])
  assert token_maps.as_colours(found).dtype == np.uint8


def test_colours_rise_with_components():
  components = np.stack([np.arange(200.0), -np.arange(200.0), np.zeros(200)], 1)
  colours = token_maps.as_colours(components).astype(int)
  assert colours[0].tolist() == [0, 255, 0]
  assert colours[-1].tolist() == [255, 0, 0]
  assert (np.diff(colours[:, 0]) >= 0).all() and colours[100, 0] in (127, 128)


def test_likeness():
  rng = np.random.default_rng(0)
  tokens = rng.normal(size=(9, 4))
  np.testing.assert_allclose(
    token_maps.likeness(tokens, 3), cosine_similarity(tokens)[3]
  )


def test_shades_are_lighter_where_values_are_higher():
  colours = token_maps.shaded(np.array([-1.0, 0.0, 0.3, 1.0]))
  assert colours.shape == (4, 3)
  light = colours @ np.array([0.3, 0.59, 0.11])
  assert (np.diff(light) > 10).all()


@pytest.mark.parametrize("modality", random_runs.CONFIGS)
def test_every_modality(networks, modality):
  network = networks[modality]
  content = token_maps.content(network)
  figures = [x for part in content for x in part.iter("figure")]
  assert len(figures) == token_maps.EXAMPLES
  _, asked = network.parts
  shown = asked.read(asked.indices[: token_maps.EXAMPLES])
  tokens = np.concatenate(network.tokens(shown))
  shares = PCA(3).fit(tokens).explained_variance_ratio_
  said = re.search(r"they hold (.*?) of the", workdirs.text_of(*content))[1]
  np.testing.assert_allclose(
    [int(x) for x in re.findall(r"(\d+)%", said)], 100 * shares, atol=0.51
  )
  assert f"{network.model.model}'s final output" in workdirs.text_of(*content)
