"""What is learned: one file per objective, all with the same five methods."""

from d2v_jax.ema import Ema
from d2v_jax.mixing import Mixing
from d2v_jax.models.heads import LinearHead, PooledHead, RegressionHead
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.supervised import Classification, Ctc, Regression

OBJECTIVES = {
  "data2vec": Data2Vec,
  "ctc": Ctc,
  "classification": Classification,
  "regression": Regression,
}

# What objectives are made of: sub-dict of config.objective -> constructor.
PARTS = {
  "data2vec": {"head": RegressionHead, "ema": Ema},
  "ctc": {"head": LinearHead},
  "classification": {"head": PooledHead, "mixing": Mixing},
  "regression": {"head": PooledHead},
}
