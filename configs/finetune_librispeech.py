"""CTC fine-tuning on LibriSpeech's transcripts: 10 minutes to 960 hours.

  d2v train finetune_librispeech:base_10h --workdir=RUN2 --config.init_from=RUN

RUN is a pretrained model: a run of speech_base.py, or an imported one. The
recipes are base_ and large_ with 10m, 1h, 10h, 100h (the default, base_100h)
and 960h. data/ has the folders as downloaded and unpacked: LibriSpeech with
train-clean-100, ..., dev-clean, dev-other, test-clean and test-other, and for
up to 10 hours librispeech_finetuning (of Libri-light) with 1h and 9h. If they
are elsewhere: --config.data.source.path and --config.evaluation.SPLIT.path for
the splits test (dev-other), test_dev_clean, test_clean and test_other.

Evaluation is greedy. With a language model, when the run is finished:

  d2v evaluate --workdir=RUN2 \\
    --config.evaluation.evaluators.wer.decoder.lm=3-gram.pruned.1e-7.arpa.gz

Source: data2vec (arXiv 2202.03555) section 4.2, which follows wav2vec 2.0
(arXiv 2006.11477, appendix B), and the released configs, RECIPES below. Where
they differ we follow the configs:

                   paper               config            here
  updates          12k 13k 20k 50k     13k 13k 20k 80k   as config
                   320k                320k
  hidden frames    .75 .75 .65 .5 .5   see RECIPES       as config, in each
  (spans of 10)                                          utterance of a length
                                                         the same number
  hidden channels  .5 .25 .25 .5 .1    see RECIPES       as config
  (spans of 64)
  layer drop       Base .05, Large .1  see RECIPES       as config
  first only head  10k updates         10k; 0 for Base   as config
                                       of 100h, 960h
  rate             linear at the end   exponential       exponential
  audio an update  Base 27 min,        27 min, Large     utterances, below
                   Large 32 min        of 960h 32 min
  normalised       -                   Base: false, but  yes
                                       the model needs
                                       it
  checkpoint       -                   best on dev-other the last
  dropout          -                   0.1 after the FFN's GELU, else none
  weight decay     -                   none
  clipping         -                   none

Lists are for 10m, 1h, 10h, 100h, 960h. data2vec's word error rates on
test-other, with a 4-gram: Base 12.3, 9.1, 8.1, 6.8, 5.5 %, Large 8.4, 6.3, 5.3,
4.6, 3.7 %.

The configs fill an update with 25.6M samples, or 30.7M for Large of 960 hours:
at 16 kHz 1600 s and 1920 s, of utterances that last 12.3 s on average (12.7 in
train-clean-100). That is 126 to 130 and 156 utterances; here 128 and 160. Of 10
minutes, which are less than one update there, 32. Nobody has run it here.

What the encoder is otherwise comes from RUN. Without init_from, but with
--config.encoder.name=speech, it is Base with random convolutions, which stay
so: that learns nothing worth having.

Cost: 93,186,589 parameters for Base.
"""

import ml_collections

from configs.speech_base import TRAIN

# peak rate, updates, utterances an update, share of frames and of channels
# hidden if spans did not overlap, layer drop, updates of the head alone
RECIPES = {
  "base_10m": (5e-5, 13_000, 32, 0.65, 0.25, 0.1, 10_000),
  "base_1h": (5e-5, 13_000, 128, 0.65, 0.25, 0.1, 10_000),
  "base_10h": (5e-5, 20_000, 128, 0.65, 0.5, 0.05, 10_000),
  "base_100h": (3e-5, 80_000, 128, 0.65, 0.5, 0.1, 0),
  "base_960h": (1e-4, 320_000, 128, 0.5, 0.1, 0.1, 0),
  "large_10m": (1e-4, 13_000, 32, 0.65, 0.25, 0.1, 10_000),
  "large_1h": (3e-4, 13_000, 128, 0.75, 0.25, 0.1, 10_000),
  "large_10h": (1e-4, 20_000, 128, 0.75, 0.25, 0.1, 10_000),
  "large_100h": (3e-5, 80_000, 128, 0.5, 0.5, 0.1, 10_000),
  "large_960h": (3e-5, 320_000, 160, 0.5, 0.25, 0.1, 10_000),
}
# folder and subsets of the transcribed speech
SPEECH = {
  "10m": ("data/librispeech_finetuning/1h", ("0",)),
  "1h": ("data/librispeech_finetuning", ("1h",)),
  "10h": ("data/librispeech_finetuning", ("1h", "9h")),
  "100h": ("data/LibriSpeech", ("train-clean-100",)),
  "960h": ("data/LibriSpeech", TRAIN),
}


def get_config(recipe: str = "base_100h") -> ml_collections.ConfigDict:
  """A published recipe.

  Args:
    recipe: one of RECIPES.
  """
  if recipe not in RECIPES:
    raise ValueError(
      f"unknown recipe {recipe!r}; choose one of: {', '.join(RECIPES)}"
    )
  peak, steps, batch, frames, channels, layer_drop, freeze = RECIPES[recipe]
  size, hours = recipe.split("_")
  path, subsets = SPEECH[hours]

  c = ml_collections.ConfigDict()
  c.seed = 0
  c.total_steps = steps
  c.batch_size = batch
  c.accumulate = 1
  c.log_every = 100
  c.checkpoint_every = 1_000
  c.modality = "speech"
  c.compute_dtype = "bfloat16"
  c.sharding = "fsdp" if size == "large" else "replicated"
  c.init_from = ""

  c.data = dict(
    source=dict(name="librispeech", path=path, subsets=subsets),
    buckets=dict(
      lengths=(160_000, 208_000, 240_000, 256_000, 280_000, 480_000)
    ),
    labels=dict(name="characters", max_length=640),
    mask=dict(name="spans", prob=frames, length=10),
    channel_mask=dict(name="spans", prob=channels, length=64, min_masks=0),
    num_threads=64,
    num_workers=0,
  )
  c.encoder = dict(
    feature_grad_scale=0.0,
    dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.1,
    layer_drop=layer_drop,
    remat="full" if size == "large" else "none",
  )
  c.objective = dict(name="ctc", head=dict(num_outputs=29))
  c.schedule = dict(
    name="tri_stage",
    peak=peak,
    warmup_steps=steps // 10,
    hold_steps=4 * steps // 10,
    final_scale=0.05,
  )
  c.optimizer = dict(
    b1=0.9,
    b2=0.98,
    eps=1e-8,
    uncorrected_eps=True,
    weight_decay=0.0,
    freeze_steps=freeze,
  )
  c.evaluation = dict(
    every=steps // 10,
    test=_part("dev-other"),
    test_dev_clean=_part("dev-clean"),
    test_clean=_part("test-clean"),
    test_other=_part("test-other"),
    buckets=dict(lengths=(80_000, 160_000, 320_000, 576_000)),
    batch_size=64,
    evaluators=dict(
      wer=dict(),
      wer_dev_clean=dict(name="wer", split="test_dev_clean"),
      wer_test_clean=dict(name="wer", split="test_clean"),
      wer_test_other=dict(name="wer", split="test_other"),
    ),
  )
  return c


def _part(subset):
  return dict(name="librispeech", path="data/LibriSpeech", subsets=(subset,))
