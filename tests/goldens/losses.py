"""Losses, target norms and their statistics against the reference."""

import jax
import numpy as np

from d2v_jax.models.encoder import EncoderOutput
from d2v_jax.models.layer_average import LayerOutputs
from d2v_jax.objectives import losses
from d2v_jax.objectives.targets import Targets
from tests.goldens.pure import Group, Pure
from tests.layer_average import averaged


def _loss(case: Pure) -> None:
  golden = case.golden
  for i, beta in enumerate(golden["betas"]):

    def total(x, beta=beta):
      return losses.regression_loss(x, golden["y"], float(beta)).sum()

    value = losses.regression_loss(golden["x"], golden["y"], float(beta))
    np.testing.assert_allclose(value, golden["value"][i], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
      jax.grad(total)(golden["x"]), golden["grad_x"][i], rtol=1e-6, atol=1e-6
    )


def _std(case: Pure) -> None:
  x = case.golden["in"]
  x = x.reshape(1, -1, x.shape[-1])
  std = losses.masked_std(x, np.ones(x.shape[:2], bool))
  np.testing.assert_allclose(std, case.golden["out"], rtol=1e-5)


def _targets(case: Pure) -> None:
  options = case.options
  before = ("batch", "instance", "layer")
  layer_norms = [n for n in before if options.get(f"{n}_norm_target_layer")]
  after = [n for n in ("layer", "instance") if options.get(f"{n}_norm_targets")]
  options.finish()
  layers = case.arrays["targets/layers"]
  for name, value in case.golden.items():
    top_k = int(name.removeprefix("top"))
    targets = Targets(top_k, "block", tuple(layer_norms), tuple(after))
    average = averaged(targets.layers, LayerOutputs(layers, layers, layers))
    y = targets(EncoderOutput(*[layers] * 4, average=average))
    np.testing.assert_allclose(y, value, rtol=0, atol=1e-5, err_msg=name)


def _gelu(case: Pure) -> None:
  y = jax.nn.gelu(case.golden["x"], approximate=False)
  np.testing.assert_allclose(y, case.golden["y"], rtol=0, atol=1e-6)


GROUPS = {
  "loss": Group(_loss, single=True),
  "var": Group(_std),
  "targets": Group(_targets, "targets/{member}", shared=("layers",)),
  "gelu": Group(_gelu, single=True),
}
