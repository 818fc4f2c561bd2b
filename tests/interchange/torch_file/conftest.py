"""The two layouts of torch.save, and a file."""

import pytest


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def legacy(request):
  return request.param


@pytest.fixture
def path(tmp_path):
  return tmp_path / "model.pt"
