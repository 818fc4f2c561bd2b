"""`python -m d2v_jax` is the command `d2v`."""

import sys

from d2v_jax import commands

if __name__ == "__main__":
  sys.exit(commands.main())
