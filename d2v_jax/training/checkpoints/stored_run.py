"""What a run has stored, for those that begin with its weights."""

from collections.abc import Iterable

import jax
from etils import epath

from d2v_jax.evaluators.features import MODELS
from d2v_jax.models.encoder import Encoder, Params
from d2v_jax.objectives import SUB_TREES
from d2v_jax.objectives.objective import Objective
from d2v_jax.training import sharding
from d2v_jax.training.checkpoints import stored_items
from d2v_jax.training.workdir import provenance


class StoredRun:
  """A checkpoint that another run starts from or that features come from.

  Attributes:
    run: workdir.
    step: of the checkpoint.
    stored: item -> tree of shapes and dtypes.
  """

  def __init__(self, run: epath.PathLike, step: int | None = None) -> None:
    self.run = epath.Path(run)
    self._directory = self.run / "checkpoints"
    self.step, self.stored = stored_items.describe(self._directory, step=step)

  @property
  def path(self) -> epath.Path:
    """Folder of the checkpoint."""
    return self._directory / str(self.step)

  @property
  def averaged(self) -> set[str]:
    """Sub-trees that the teacher has of its own; none without a teacher."""
    return set(self.stored.get("teacher_params", {}))

  def require(self, model: str) -> None:
    """Raises ValueError if there is no such network."""
    if model not in MODELS:
      raise ValueError(
        f"unknown model {model!r}; choose one of: {', '.join(MODELS)}."
      )
    if model == "teacher" and not self.averaged:
      raise ValueError(
        f"{self.run} has no teacher (its objective is {self._objective()!r}); "
        "choose the student."
      )

  def network(
    self, encoder: Encoder, model: str, mesh: jax.sharding.Mesh
  ) -> Params:
    """The encoder's sub-trees of the student or the teacher, on devices."""
    names = encoder.sub_trees.names & set(self.stored["params"])
    return self.read(names, encoder, model, mesh)

  def taken_by(
    self, objective: Objective, name: str, params: Params
  ) -> set[str]:
    """Names of the sub-trees that a new run takes from this one.

    All but what the objective names `fresh`, what its encoder leaves out, and
    the parts (head, decoder, ...) of another objective. Parts that are not
    there are no error.

    Args:
      objective: of the new run.
      name: its name in the table of objectives.
      params: its parameters, or their shapes.
    """
    without = {*objective.fresh, *objective.encoder.left_out}
    other = self._objective() not in (None, name)
    without |= SUB_TREES - (set() if other else self.stored["params"].keys())
    return (set(self.stored["params"]) | set(params)) - without

  def _objective(self) -> str | None:
    """Name of the run's objective; None where nothing tells it."""
    try:
      config = provenance.read(self.run)["config"]
    except ValueError:
      return None
    return config.get("objective", {}).get("name")

  def read(
    self,
    names: Iterable[str],
    encoder: Encoder,
    model: str,
    mesh: jax.sharding.Mesh,
  ) -> Params:
    """Sub-trees of the student, or of what the teacher is to it.

    Args:
      names: of top-level sub-trees.
      encoder: to whose input size positions are fitted.
      model: 'student' or 'teacher', of which each sub-tree comes from its own
        average where there is one, else from the student.
      mesh: the devices.
    """
    every = set(names)
    averaged = self.averaged & every if model == "teacher" else set()
    stacked = encoder.sub_trees.stacked
    params = self._item("teacher_params", averaged, mesh, stacked)
    params |= self._item("params", every - averaged, mesh, stacked)
    return encoder.resize(params)

  def trees(
    self, encoder: Encoder, mesh: jax.sharding.Mesh
  ) -> tuple[Params, Params]:
    """All of the student, its head included, and of the teacher, on devices."""
    stacked = encoder.sub_trees.stacked
    student, teacher = (
      self._item(item, set(self.stored.get(item, {})), mesh, stacked)
      for item in ("params", "teacher_params")
    )
    return encoder.resize(student), encoder.resize(teacher) if teacher else {}

  def _item(
    self,
    item: str,
    names: set[str],
    mesh: jax.sharding.Mesh,
    stacked: tuple[str, ...],
  ) -> Params:
    if not names:
      return {}
    stored = self.stored[item]
    tree = {name: stored[name] for name in stored if name in names}
    where = sharding.state_sharding(tree, mesh, stacked)
    abstract = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      tree,
      where,
    )
    ignore = tuple(set(stored) - names)
    _, params = stored_items.load_item(
      self._directory, item, abstract, step=self.step, ignore=ignore
    )
    return params
