"""What is learned: one file per objective, all with the same five methods."""

from d2v_jax.objectives.data2vec import Data2Vec

OBJECTIVES = {"data2vec": Data2Vec}
