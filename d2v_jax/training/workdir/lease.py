"""One owner of a workdir: a lease that is renewed while a run lives.

The file `owner.json` names the run that writes to a workdir. It is renewed four
times in each lease; a second run is refused as soon as it sees that. No clocks
of two hosts are compared: on another host an owner is dead when the file has
stayed as it is for one whole lease, watched by the one who asks. On the same
machine the system tells at once whether the process is still there.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath

from d2v_jax import storage
from d2v_jax.training.workdir import owner, side_files
from d2v_jax.training.workdir.owner import Owner
from d2v_jax.training.workdir.together import from_process_0

FILE = "owner.json"
SHORTEST, LONGEST = 1.0, 3600.0
_RENEWALS = 4  # in each lease
# What two that claim a file at the same moment need to see each other, in
# seconds: some file systems have no call that only one of them wins.
_SETTLE = 1.0
_OTHERS_TURN = "process 0 does not own the workdir: see its log"


class InUse(RuntimeError):
  """The workdir belongs to another run; the message names it."""


class Lost(RuntimeError):
  """The claim of this run could not be renewed for as long as it holds."""


class Lease:
  """The claim of this process; made by `owned`.

  Args:
    workdir: what it is a claim of.
    seconds: after which it is void unless it is renewed.
    takeover: take the workdir from whoever has it.
    tell: is called with what the user may have to wait for.

  Raises:
    InUse: another run lives there. Nothing was touched.
  """

  def __init__(
    self,
    workdir: epath.Path,
    seconds: float,
    takeover: bool,
    tell: Callable[[str], None],
  ) -> None:
    self._workdir = workdir
    self._path = workdir / FILE
    self._seconds = seconds
    self._beat = 0
    self._lost: Exception | None = None
    self._own = owner.this_process() | {"lease_seconds": seconds}
    self._claim(takeover, tell)
    self._renewed = time.monotonic()
    self._released = threading.Event()
    self._thread = threading.Thread(
      target=self._keep, name="lease", daemon=True
    )
    self._thread.start()

  @property
  def lost(self) -> bool:
    """Whether this run must stop."""
    return self._lost is not None

  def require(self) -> None:
    """Looks again; raises InUse or Lost unless the workdir is still ours."""
    if self._lost is None:
      # What cannot be read for a while is no loss: the thread decides.
      with contextlib.suppress(OSError):
        self._look()
    if self._lost is not None:
      raise self._lost

  def release(self) -> None:
    """Gives the workdir free, if it is still ours."""
    self._released.set()
    self._thread.join()
    with contextlib.suppress(OSError):
      if self._token(_read(self._path)) == self._own["token"]:
        self._path.unlink(missing_ok=True)

  def _claim(self, takeover: bool, tell: Callable[[str], None]) -> None:
    # A folder is nobody's claim.
    if not storage.in_bucket(self._path) and self._path.is_dir():
      with contextlib.suppress(FileNotFoundError):  # another one was faster
        tell(f"set aside a folder: {side_files.set_aside(self._path)}")
    while True:
      found = _read(self._path)
      if found is None and not storage.in_bucket(self._path):
        try:
          with open(self._path, "xb") as f:
            f.write(self._text())
          return
        except FileExistsError:
          continue  # another one was faster
      settle = _SETTLE
      if found is not None:
        theirs = _parsed(found)
        if takeover:
          # The other one stops when it wants to renew its claim.
          settle += 0 if owner.is_dead(theirs) else self._lease_of(theirs) / 4
          tell(f"taking {self._workdir} from {owner.described(theirs)}")
        elif not owner.is_dead(theirs):
          self._require_dead(found, theirs, tell)
      self._write()
      time.sleep(settle)
      found = _read(self._path)
      if self._token(found) != self._own["token"]:
        raise InUse(self._refusal(_parsed(found or b"")))
      return

  def _require_dead(
    self, found: bytes, theirs: Owner, tell: Callable[[str], None]
  ) -> None:
    lease = self._lease_of(theirs)
    if not owner.lives(theirs):
      tell(
        f"{self._workdir} belongs to {owner.described(theirs)}; waiting up to "
        f"{lease:g} s for a sign of life"
      )
      end = time.monotonic() + lease
      while time.monotonic() < end and _read(self._path) == found:
        time.sleep(min(1.0, lease / 20))
      found_now = _read(self._path)
      if found_now in (found, None):
        return
      theirs = _parsed(found_now)
    raise InUse(self._refusal(theirs))

  def _refusal(self, theirs: Owner) -> str:
    return (
      f"the workdir {self._workdir} belongs to {owner.described(theirs)}, "
      "which lives; nothing was touched. Let it go on, stop it, or choose "
      "another workdir; --takeover takes this one from it."
    )

  def _lease_of(self, theirs: Owner) -> float:
    seconds = theirs.get("lease_seconds")
    if isinstance(seconds, int | float) and SHORTEST <= seconds <= LONGEST:
      return float(seconds)
    return self._seconds

  def _keep(self) -> None:
    while not self._released.wait(self._seconds / _RENEWALS):
      try:
        self._look()
        if self._lost is not None:
          return
        self._beat += 1
        self._write()
        self._renewed = time.monotonic()
      except Exception as e:  # object stores raise any class of error
        silent = time.monotonic() - self._renewed
        if silent > self._seconds:
          self._lost = Lost(
            f"the claim to the workdir {self._workdir} could not be renewed "
            f"for {silent:.0f} s, so that another run may take it: "
            f"{type(e).__name__}: {e}"
          )
          return

  def _look(self) -> None:
    found = _read(self._path)
    if found is not None and self._token(found) != self._own["token"]:
      self._lost = InUse(
        f"the workdir {self._workdir} was taken over by "
        f"{owner.described(_parsed(found))}; this run has saved nothing since."
      )

  def _token(self, found: bytes | None) -> Any:
    return None if found is None else _parsed(found).get("token")

  def _text(self) -> bytes:
    text = json.dumps({**self._own, "renewals": self._beat}, indent=2)
    return f"{text}\n".encode()

  def _write(self) -> None:
    temporary = self._path.with_name(f"{FILE}.{self._own['token']}.tmp")
    temporary.write_bytes(self._text())
    temporary.replace(self._path)


class _OfProcess0:
  """The claim that process 0 has for all."""

  lost = False

  def require(self) -> None:
    pass

  def release(self) -> None:
    pass


class SharedLease:
  """What every process of a run asks, all of them at the same time."""

  def __init__(self, mine: Lease | _OfProcess0) -> None:
    self._mine = mine

  @property
  def lost(self) -> bool:
    """Whether this process knows that the run must stop."""
    return self._mine.lost

  def require(self) -> None:
    """Raises InUse or Lost in every process unless the workdir is ours."""
    _in_all(self._mine.require)


@contextlib.contextmanager
def owned(
  workdir: epath.Path,
  seconds: float,
  takeover: bool,
  tell: Callable[[str], None],
) -> Iterator[SharedLease]:
  """Owns a workdir, for all processes of a run, until it ends.

  Args:
    workdir: a folder that exists, or gs://bucket/path.
    seconds: of silence after which a run on another host counts as dead.
    takeover: take the workdir from a run that lives.
    tell: is called with what the user may have to wait for.

  Raises:
    InUse: another run lives there. Nothing was touched.
  """
  mine: list[Lease | _OfProcess0] = []

  def claim() -> None:
    first = jax.process_index() == 0
    mine.append(
      Lease(workdir, seconds, takeover, tell) if first else _OfProcess0()
    )

  try:
    _in_all(claim)
    yield SharedLease(mine[0])
  finally:
    for lease in mine:
      lease.release()


def _in_all(attempt: Callable[[], None]) -> None:
  """What process 0 meets, all others raise, too."""
  kinds = (InUse, Lost, Exception)
  error: Exception | None = None
  try:
    attempt()
  except Exception as e:
    error = e
  met = [error is not None and isinstance(error, kind) for kind in kinds]
  first = from_process_0(met.index(True) if any(met) else len(kinds))
  if error is not None:
    raise error
  if first < len(kinds):
    raise (InUse if first == 0 else Lost)(_OTHERS_TURN)


def _read(path: epath.Path) -> bytes | None:
  try:
    return path.read_bytes()
  except FileNotFoundError:
    return None


def _parsed(found: bytes) -> Owner:
  """What an owner says of itself; {} where that is damaged or being written."""
  try:
    content = json.loads(found)
  except (ValueError, RecursionError):
    return {}
  return content if isinstance(content, dict) else {}
