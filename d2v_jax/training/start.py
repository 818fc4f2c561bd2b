"""How a run is started: what is no part of its config."""

import dataclasses

from d2v_jax.training.workdir import lease


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
  """What the user says about one start of a run.

  Attributes:
    lease_seconds: a run that has not renewed its claim to the workdir for so
      long counts as dead.
    takeover: take the workdir from a run that lives.
    rewind: step of a checkpoint to go back to, and on from there with a config
      that may differ; None: the newest.
    changed_data: go on although the data are not those of the checkpoint.
    ignore_verdict: go on although the run was stopped as sick, and its config
      is the same.
  """

  lease_seconds: float = 60.0
  takeover: bool = False
  rewind: int | None = None
  changed_data: bool = False
  ignore_verdict: bool = False

  def __post_init__(self) -> None:
    if not lease.SHORTEST <= self.lease_seconds <= lease.LONGEST:
      raise ValueError(
        f"--lease must be {lease.SHORTEST:g} to {lease.LONGEST:g} seconds, got "
        f"{self.lease_seconds:g}."
      )
