"""data2vec's text networks in PyTorch, of transformers' layers.

Without the token types that transformers adds and data2vec does not have.
"""

import copy

import numpy as np
import torch
from transformers import Data2VecTextConfig, Data2VecTextModel

from benchmarks import torch_layers
from d2v_jax.config import Spec
from d2v_jax.data.layout import PAD


class Network(torch.nn.Module):
  """The student; the teacher has its own `blocks`."""

  TARGET = "ffn"
  TRACKED = ("blocks",)
  # PyTorch's names, a part at a time -> the paths of our parameters.
  PATHS = (
    (r"^feature_encoder\.weight", "feature_encoder/embedding"),
    (r"^position_embedding\.weight", "position_embedding"),
    (r"^blocks\.\d+", "blocks"),
    (r"attention\.output\.dense", "attention/out"),
    (r"attention\.output\.LayerNorm", "norm1"),
    (r"attention\.self\.(\w)\w+\.bias", r"attention/\1_bias"),
    (r"attention\.self", "attention"),
    (r"intermediate\.dense", "mlp/fc1"),
    (r"output\.dense", "mlp/fc2"),
    (r"output\.LayerNorm", "norm2"),
  )

  def __init__(self, spec: Spec, head_layers: int):
    super().__init__()
    torch_layers.check(
      "encoder",
      spec,
      positions="learned",
      scale_embedding=False,
      embedding_norm=True,
      pre_norm=False,
      activation_dropout=0.0,
      mlp_ratio=4.0,
    )
    width = spec["width"]
    config = Data2VecTextConfig(
      vocab_size=spec["vocab_size"],
      max_position_embeddings=spec["max_tokens"] + PAD + 1,
      hidden_size=width,
      num_hidden_layers=spec["depth"],
      num_attention_heads=spec["num_heads"],
      intermediate_size=4 * width,
      hidden_dropout_prob=spec["dropout"],
      attention_probs_dropout_prob=spec["attention_dropout"],
      layer_norm_eps=1e-5,
      pad_token_id=PAD,
      type_vocab_size=1,
    )
    config._attn_implementation = "sdpa"
    model = Data2VecTextModel(config, add_pooling_layer=False)
    self.feature_encoder = model.embeddings.word_embeddings
    self.position_embedding = model.embeddings.position_embeddings
    self.embedding_norm = model.embeddings.LayerNorm
    self.dropout = model.embeddings.dropout
    self.blocks = model.encoder.layer
    self.head = torch_layers.head(width, head_layers)
    self.mask_id = spec["vocab_size"] - 1
    self.places = model.embeddings.create_position_ids_from_input_ids

  def teacher(self) -> torch.nn.Module:
    """What the teacher has of its own."""
    return copy.deepcopy(torch.nn.ModuleDict({"blocks": self.blocks}))

  @staticmethod
  def arrays(batch: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Arguments of `forward`: token ids [B, N] twice, mask [B, N]."""
    tokens = batch["inputs"]
    return tokens, batch.get("student_inputs", tokens), batch["mask"]

  def forward(
    self,
    teacher: torch.nn.Module,
    tokens: torch.Tensor,
    student_tokens: torch.Tensor,
    mask: torch.Tensor,
  ) -> tuple[list[torch.Tensor], torch.Tensor]:
    """FFN outputs [B, N, D] of the teacher's layers; output of the student."""
    student_tokens = torch.where(mask, self.mask_id, student_tokens)
    x, _ = _encode(self.blocks, self.dropout(self._embed(student_tokens)))
    with torch.no_grad():
      _, layers = _encode(teacher["blocks"], self._embed(tokens))
    return layers, x

  def _embed(self, tokens):
    x = self.feature_encoder(tokens)
    return self.embedding_norm(
      x + self.position_embedding(self.places(tokens, PAD))
    )


def _encode(blocks, x):
  layers = []
  for layer in blocks:
    x = layer.attention.output(layer.attention.self(x)[0], x)
    y = layer.output.dense(layer.intermediate(x))
    x = layer.output.LayerNorm(x + layer.output.dropout(y))
    layers.append(y)
  return x, layers
