"""What is learned: one file for each objective."""

from collections.abc import Callable

from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.heads import (
  LinearHead,
  PooledHead,
  RegressionHead,
  TokenHead,
)
from d2v_jax.models.mlp_head import MlpHead
from d2v_jax.objectives.byol import Byol
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.mixing import Mixing
from d2v_jax.objectives.mlm import Mlm
from d2v_jax.objectives.objective import Objective
from d2v_jax.objectives.pixels import Pixels
from d2v_jax.objectives.supervised import Classification, Ctc, Regression
from d2v_jax.objectives.targets import Targets

OBJECTIVES: dict[str, Callable[..., Objective]] = {
  "data2vec": Data2Vec,
  "data2vec2": Data2Vec2,
  "pixels": Pixels,
  "byol": Byol,
  "mlm": Mlm,
  "ctc": Ctc,
  "classification": Classification,
  "regression": Regression,
}

# Sub-trees of parameters that are an objective's, and not the network's.
SUB_TREES = {"head", "decoder", "projector", "predictor"}

# What objectives are made of: sub-dict of config.objective -> constructor.
PARTS = {
  "data2vec": {"head": RegressionHead, "ema": Ema, "targets": Targets},
  "data2vec2": {"decoder": ConvDecoder, "ema": Ema, "targets": Targets},
  "pixels": {"head": LinearHead, "decoder": ConvDecoder},
  "byol": {"projector": MlpHead, "predictor": MlpHead, "ema": Ema},
  "mlm": {"head": TokenHead},
  "ctc": {"head": LinearHead},
  "classification": {"head": PooledHead, "mixing": Mixing},
  "regression": {"head": PooledHead},
}
