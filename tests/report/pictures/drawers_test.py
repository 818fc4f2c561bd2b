"""Each modality has its drawer."""

import pytest

from d2v_jax import config as config_lib
from d2v_jax import config_file
from d2v_jax.report.opened import opened
from d2v_jax.report.pictures.drawers import drawer
from d2v_jax.report.pictures.images import ImageDrawer, SpectrogramDrawer
from d2v_jax.report.pictures.recordings import RecordingDrawer
from d2v_jax.report.pictures.texts import TextDrawer
from tests import runs


@pytest.mark.parametrize(
  ("config", "kind"),
  [
    ("tiny", ImageDrawer),
    ("tiny_spectrogram", SpectrogramDrawer),
    ("tiny_speech", RecordingDrawer),
    ("tiny_signal", RecordingDrawer),
    ("tiny_text", TextDrawer),
  ],
)
def test_drawers(config, kind):
  path = runs.ROOT / f"tests/configs/{config}.py"
  assert (
    type(drawer(opened(config_lib.plain(config_file.load(str(path)))).dataset))
    is kind
  )
