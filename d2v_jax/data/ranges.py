"""Ranges of arguments; what is outside is an error that names the field."""


def check_range(
  owner: str, field: str, value: float, least: float, most: float
) -> None:
  """Raises ValueError unless least <= value <= most, which NaN is not.

  Args:
    owner: class or function that the field belongs to.
    field: name of the argument.
    value: what was given.
    least: smallest value that is allowed.
    most: largest value that is allowed.
  """
  if not least <= value <= most:
    raise ValueError(f"{owner}: {field} must be {least} to {most}, got {value}")
