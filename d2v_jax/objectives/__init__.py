"""What is learned: one file for each objective."""

from collections.abc import Callable

from d2v_jax.objectives.byol import Byol
from d2v_jax.objectives.contrastive import Contrastive
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.mlm import Mlm
from d2v_jax.objectives.multi_label import MultiLabel
from d2v_jax.objectives.objective import Objective
from d2v_jax.objectives.pixels import Pixels
from d2v_jax.objectives.supervised import Classification, Ctc, Regression

OBJECTIVES: dict[str, Callable[..., Objective]] = {
  "data2vec": Data2Vec,
  "data2vec2": Data2Vec2,
  "pixels": Pixels,
  "byol": Byol,
  "contrastive": Contrastive,
  "mlm": Mlm,
  "ctc": Ctc,
  "classification": Classification,
  "multi_label": MultiLabel,
  "regression": Regression,
}

# Sub-trees of parameters that are an objective's, and not the network's.
SUB_TREES = {"head", "decoder", "projector", "predictor"}
