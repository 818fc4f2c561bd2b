"""What a run sees of its data before it begins, in seconds."""

import time
from collections.abc import Callable, Mapping

from d2v_jax.data.checking import report
from d2v_jax.data.checking.duplicates import same_splits
from d2v_jax.data.checking.opening import TRAINING, same_as
from d2v_jax.data.checking.survey import chosen, survey
from d2v_jax.data.dataset import EVALUATION, Dataset
from d2v_jax.data.source import Source

LEARNED = (TRAINING, f"{EVALUATION}.train")
_RECORDS = 64  # of each split
_SECONDS = 5.0


def look_at(
  dataset: Dataset, sources: Mapping[str, Source], say: Callable[[str], None]
) -> None:
  """Says what is wrong with some records, and how many were looked at.

  The run is not touched: records are read once more, and no generator but one
  of this function's own is drawn from.

  Args:
    dataset: config.data.
    sources: path in the config -> records to train or to evaluate on.
    say: gets one line at a time.
  """
  same = same_as(sources)
  end = time.monotonic() + _SECONDS
  surveys = {
    name: survey(
      name,
      source,
      dataset.look,
      chosen(len(source), _RECORDS),
      threads=dataset.num_threads,
      seconds=end - time.monotonic(),
    )
    for name, source in sources.items()
    if name not in same
  }
  findings = report.all_findings(surveys, LEARNED, dataset.max_corrupt)
  findings += same_splits(same, LEARNED)
  for finding in findings:
    say(finding.text)
  seen = ", ".join(
    f"{x.looked_at:,} of {x.total:,} records of {name}"
    for name, x in surveys.items()
  )
  count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
  say(f"looked at {seen}: {count}")
