"""Files beside the checkpoints of a run: damaged, they must not block it."""

from etils import epath


def set_aside(path: epath.Path) -> epath.Path:
  """Gives a damaged file, or what lies in its place, another name.

  Returns:
    Where it is now.
  """
  target, n = path.with_name(f"{path.name}.damaged"), 0
  while target.exists():
    n += 1
    target = path.with_name(f"{path.name}.damaged-{n}")
  path.rename(target)
  return target


def replace(path: epath.Path, text: str) -> None:
  """Writes a file in one piece: readers see the old one or the new one."""
  temporary = path.with_name(f"{path.name}.tmp")
  for place in (temporary, path):
    if place.is_dir():
      set_aside(place)
  temporary.write_text(text)
  temporary.replace(path)
