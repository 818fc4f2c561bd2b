import inspect
import math

import pytest

from d2v_jax.models import checks
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit

CONSTRUCTORS = (vit, visible_vit, speech, visible_speech, text, visible_text)
# Argument -> values out of range, and what is said of them.
SIZES = dict.fromkeys(
  (
    "image_size",
    "patch_size",
    "width",
    "depth",
    "num_heads",
    "position_depth",
    "position_width",
    "position_groups",
    "max_tokens",
    "token_types",
  ),
  ((0, -8), "must be 1 or more"),
)
RATES = dict.fromkeys(
  (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "drop_path",
    "layer_drop",
  ),
  ((-0.1, 1.0, math.nan), r"must be in \[0, 1\)"),
)
RANGES = {
  **SIZES,
  **RATES,
  "prenet_depth": ((-1,), "must be 0 or more"),
  "vocab_size": ((0, 4), "must be 5 or more"),
  "mlp_ratio": ((0.0, -1.0, math.nan), "must be above 0"),
  "norm_eps": ((0.0, -1e-6), "must be above 0"),
  "layer_scale": ((-1e-4,), "must be 0 or more"),
  "feature_grad_scale": ((-1.0,), "must be 0 or more"),
}
# Whose values cannot be out of range.
OTHERS = {
  *("positions", "conv_norm", "compute_dtype", "conv_layers", "mean", "std"),
  *("cls_token", "pre_norm", "final_norm", "alibi", "remat", "conv_bias"),
  *("isolate_padding", "scale_embedding", "embedding_norm", "attention"),
}


def arguments(constructor):
  return set(inspect.signature(constructor).parameters)


def cases():
  for constructor in CONSTRUCTORS:
    for name in sorted(arguments(constructor) & RANGES.keys()):
      values, message = RANGES[name]
      for value in values:
        yield pytest.param(
          constructor,
          name,
          value,
          message,
          id=f"{constructor.__name__}-{name}={value}",
        )


@pytest.mark.parametrize(
  ("constructor", "name", "value", "message"), [*cases()]
)
def test_a_value_out_of_range_is_named(constructor, name, value, message):
  start = f"^{constructor.__name__}: {name} {message}, got {value}"
  with pytest.raises(ValueError, match=start):
    constructor(**{name: value})


def test_all_arguments_are_tested():
  for constructor in CONSTRUCTORS:
    assert arguments(constructor) <= RANGES.keys() | OTHERS


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_an_unknown_attention(constructor):
  message = (
    f"^{constructor.__name__}: unknown attention 'flash'; choose one of: auto, "
    "plain"
  )
  with pytest.raises(ValueError, match=message):
    constructor(attention="flash")


@pytest.mark.parametrize("constructor", [speech, visible_speech])
@pytest.mark.parametrize(
  "layers", [((512, 0, 5),), ((8, 3, -2),), ((0, 3, 2),), ((8, 3),)]
)
def test_convolutions_that_cannot_be(constructor, layers):
  name = constructor.__name__
  message = (
    f"^{name}: each of conv_layers must be .*1 or more, got .*{layers[0][0]}"
  )
  with pytest.raises(ValueError, match=message):
    constructor(conv_layers=layers)
  with pytest.raises(ValueError, match=f"^{name}: conv_layers must have"):
    constructor(conv_layers=())


@pytest.mark.parametrize("constructor", [vit, visible_vit])
def test_channels_that_cannot_be(constructor):
  name = constructor.__name__
  with pytest.raises(ValueError, match=f"^{name}: std must be above 0, got 0"):
    constructor(std=(0.5, 0.0, 0.5))
  with pytest.raises(ValueError, match=rf"^{name}: len\(mean\) must be 1 or"):
    constructor(mean=())


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_layers_that_cannot_be(constructor):
  name = constructor.__name__
  message = f"^{name}: width 24 is not a multiple of num_heads 5; change one"
  with pytest.raises(ValueError, match=message):
    constructor(width=24, num_heads=5)
  message = rf"^{name}: width \* mlp_ratio must be 1 or more, got 0"
  with pytest.raises(ValueError, match=message):
    constructor(width=24, mlp_ratio=0.01)


def test_fixed_positions_need_a_width():
  with pytest.raises(ValueError, match=r"visible_vit: sincos .* 4, got 6"):
    visible_vit(width=6, num_heads=2)
  for constructor in (text, visible_text):
    message = f"^{constructor.__name__}: width must be 4 or more, got 2"
    with pytest.raises(ValueError, match=message):
      constructor(width=2, num_heads=1, positions="sinusoidal")


def test_what_is_in_range_passes():
  checks.at_least("f", 1, x=1, y=2.5)
  checks.positive("f", x=1e-30)
  checks.rates("f", x=0, y=0.999)
  checks.multiple("f", ("width", 12), heads=4, groups=12)
  checks.choice("f", ("a", "b"), x="b")
