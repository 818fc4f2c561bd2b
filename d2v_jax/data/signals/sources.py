"""Where signals come from.

Records are {'signal': numbers [T, C], 'label' if there is one}.
"""

from collections.abc import Callable

from d2v_jax.data.signals.arrays import SignalArrayFiles
from d2v_jax.data.signals.examples import SignalSource
from d2v_jax.data.signals.files import SignalFolder, SignalTable
from d2v_jax.data.signals.hf import HfSignals
from d2v_jax.data.signals.long_table import LongTable
from d2v_jax.data.signals.ts_file import TsFile

SOURCES: dict[str, Callable[..., SignalSource]] = {
  "arrays": SignalArrayFiles,
  "folder": SignalFolder,
  "hf": HfSignals,
  "long_table": LongTable,
  "table": SignalTable,
  "ts": TsFile,
}
