"""Which packages there are; all else is in setup.cfg and pyproject.toml.

An installed package has the configs in it: d2v_jax/configs/.
"""

import setuptools

setuptools.setup(
  packages=[
    *setuptools.find_packages(include=["d2v_jax", "d2v_jax.*"]),
    "d2v_jax.configs",
  ],
  package_dir={"d2v_jax.configs": "configs"},
)
