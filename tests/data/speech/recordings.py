"""Recordings that tests make, and files of them."""

import io

import numpy as np
import soundfile

from d2v_jax.data.speech.audio_files import resampled_lengths

# kind -> (format, subtype) of the package soundfile
KINDS = {
  "wav": ("WAV", "PCM_16"),
  "flac": ("FLAC", "PCM_16"),
  "ogg": ("OGG", "VORBIS"),
  "opus": ("OGG", "OPUS"),
  "mp3": ("MP3", "MPEG_LAYER_III"),
}
MORE_KINDS = {"aiff": ("AIFF", "PCM_16"), "rf64": ("RF64", "PCM_16")}


def sine(samples=8000, rate=16_000, frequency=440.0, amplitude=0.5):
  time = np.arange(samples) / rate
  return amplitude * np.sin(2 * np.pi * frequency * time)


def encoded(samples, kind="wav", rate=16_000):
  buffer = io.BytesIO()
  container, subtype = (KINDS | MORE_KINDS)[kind]
  soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
  return buffer.getvalue()


class Records:
  """A source of given records."""

  class_names = ()

  def __init__(self, records, lengths=None):
    self._records = records
    self._lengths = lengths

  def __len__(self):
    return len(self._records)

  def __getitem__(self, index):
    return self._records[index]

  def record_name(self, index):
    return f"record {index}"

  def lengths(self, sample_rate):
    if self._lengths is not None:
      return np.array(self._lengths, np.int64)
    headers = [(len(r["audio"]), r["rate"]) for r in self._records]
    return resampled_lengths(headers, sample_rate)

  def texts(self):
    texts = [record.get("text", "") for record in self._records]
    return texts if any(texts) else None


def write_files(folder, files):
  """Writes name -> bytes or text, and returns the folder."""
  for name, data in files.items():
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
  return folder
