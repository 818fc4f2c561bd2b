import io
import wave

import numpy as np
import pytest
import scipy.signal
import soundfile

from d2v_jax.data import layout
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.speech import decoding
from tests.data.speech.recordings import KINDS, MORE_KINDS, encoded, sine


def refused(data, *arguments, **options):
  """Returns the reason, which is that of the header where it has one."""
  with pytest.raises(Unreadable) as caught:
    decoding.decode(data, *arguments, **options)
  return str(caught.value)


def wave_file(samples, rate=16_000):
  """Encodes int16 [n] or [n, channels] with Python's own library."""
  buffer = io.BytesIO()
  with wave.open(buffer, "wb") as file:
    file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes(samples.astype("<i2").tobytes())
  return buffer.getvalue()


def noise(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(-(2**15), 2**15, shape, dtype=np.int16)


def test_wave_is_decoded_exactly():
  raw = noise(1000)
  samples = decoding.decode(wave_file(raw))
  assert samples.dtype == np.float32
  np.testing.assert_array_equal(samples, raw / np.float32(2**15))


def test_flac_is_decoded_exactly():
  raw = noise(70_000)
  data = encoded(raw, "flac")
  np.testing.assert_array_equal(decoding.decode(data), raw / np.float32(2**15))


def test_channels_are_averaged():
  raw = noise((500, 3))
  mean = raw.astype(np.float64).mean(axis=1) / 2**15
  for samples in (
    decoding.decode(wave_file(raw)),
    decoding.decode(raw / np.float32(2**15), 16_000),
  ):
    np.testing.assert_allclose(samples, mean, atol=1e-6)


@pytest.mark.parametrize("kind", [*KINDS, *MORE_KINDS])
def test_every_kind_of_file(kind):
  truth = sine(20_000)
  data = encoded(truth, kind)
  samples = decoding.decode(data)
  assert samples.shape == (20_000,) and decoding.num_samples(data) == 20_000
  # The codecs lose some, but neither time nor loudness.
  middle = slice(2000, -2000)
  assert np.corrcoef(samples[middle], truth[middle])[0, 1] > 0.99
  np.testing.assert_allclose(samples.std(), truth.std(), rtol=0.05)


@pytest.mark.parametrize("kind", [*KINDS, *MORE_KINDS])
def test_files_cut_short_are_corrupt(kind):
  data = encoded(noise(30_000), kind)
  assert len(decoding.decode(data)) == 30_000
  for share in (0.001, 0.01, 0.3, 0.7, 0.95):
    reason = refused(data[: int(share * len(data))])
    assert "cut short" in reason or "no sound" in reason or reason == "empty"
  # The last bytes of an MP3 file may be fill.
  assert kind == "mp3" or "cut short" in refused(data[:-1])


@pytest.mark.parametrize("kind", [*KINDS, *MORE_KINDS])
def test_what_follows_does_no_harm(kind):
  data = encoded(noise(30_000), kind)
  truth = decoding.decode(data)
  rng = np.random.default_rng(0)
  tag = b"TAG" + bytes(125)  # ID3v1
  for tail in (tag, bytes(1000), rng.bytes(5000), b"tail"):
    np.testing.assert_array_equal(decoding.decode(data + tail), truth)
  id3 = b"ID3\4\0\0\0\0\1\2" + bytes(130)
  np.testing.assert_array_equal(decoding.decode(id3 + data), truth)


@pytest.mark.parametrize("kind", ["ogg", "opus"])
@pytest.mark.parametrize("seconds", [1, 20])
def test_ogg_without_the_end_mark_is_whole(kind, seconds):
  data = encoded(sine(16_000 * seconds), kind)
  truth = decoding.decode(data)
  last = data.rfind(b"OggS")
  page = bytearray(data[last:])
  assert page[5] & 4  # the mark, and then the checksum
  page[5] &= ~4
  page[22:26] = bytes(4)
  page[22:26] = ogg_checksum(page).to_bytes(4, "little")
  broken = data[:last] + bytes(page)
  for given in (broken, broken + b"tail"):
    np.testing.assert_array_equal(decoding.decode(given), truth)
    assert decoding.header(given) == (16_000 * seconds, 16_000)
  assert refused(broken[:-1]) == "cut short"


def ogg_checksum(page):
  """RFC 3533's CRC, bit by bit: polynomial 04c11db7, nothing reflected."""
  value = 0
  for byte in page:
    value ^= byte << 24
    for _ in range(8):
      value = (value << 1) ^ (0x04C11DB7 if value >> 31 else 0)
      value &= 0xFFFFFFFF
  return value


@pytest.mark.parametrize("kind", [*KINDS, "aiff"])
def test_two_recordings_in_one_file_are_not_one(kind):
  one, other = encoded(sine(9000), kind), encoded(sine(12_000), kind)
  assert (
    refused(one + other) == "two recordings, one behind the other; part them"
  )


def test_a_recording_that_was_broken_off():
  data = bytearray(wave_file(noise(1000)))
  data[4:8] = data[40:44] = bytes(4)
  assert (
    "says that it is empty, as of a recording that was broken off; 2000"
    in (refused(bytes(data)))
  )


def test_channels_that_cancel_are_not_silence():
  truth = sine(8000).astype(np.float32)
  stereo = np.stack([0.5 * truth, -truth], 1)
  opposite = np.stack([truth, -truth], 1)
  for both in (opposite, np.stack([truth, -0.9 * truth, truth * 0], 1)):
    np.testing.assert_array_equal(decoding.decode(both, 16_000), truth)
  # Half as loud is no accident.
  ours = decoding.decode(stereo, 16_000)
  np.testing.assert_allclose(ours, stereo.mean(1), atol=1e-7)
  one = np.stack([truth, np.zeros_like(truth)], 1)
  np.testing.assert_allclose(decoding.decode(one, 16_000), truth / 2)


def test_decoded_size_is_bounded():
  data = encoded(sine(16_000), rate=8000)
  assert len(decoding.decode(data, max_seconds=2)) == 32_000
  assert "2 s of 1 channels at 8000 Hz are more than max_seconds=1.9" in (
    refused(data, max_seconds=1.9)
  )
  # Three kilobytes that would be 25 million samples.
  assert "its header says 1 samples a second" in refused(
    encoded(sine(1600), rate=1)
  )
  many = encoded(np.zeros((48_000, 8)), "flac", 48_000)
  assert "of 8 channels at 48000 Hz are more than max_seconds=2" in refused(
    many, max_seconds=2
  )


def test_measured_is_the_length_in_front_of_resampling():
  data = encoded(sine(9000, 44_100), "flac", 44_100)
  assert decoding.measured(data) == decoding.header(data) == (9000, 44_100)
  with pytest.raises(Unreadable, match="silent: its standard deviation"):
    decoding.measured(encoded(np.full(1000, 0.3)))
  with pytest.raises(Unreadable, match="cut short"):
    decoding.measured(data[:-10])


def test_what_is_no_audio_is_corrupt():
  for data, reason in (
    (b"", "empty"),
    (b"x", "no sound: text"),
    (b"RIFF", "cut short"),
    (b"OggS", "cut short"),
    (b"fLaC" + bytes(100), "damaged or cut short: FLAC"),
    (bytes(1000), "no sound: zeros"),
    (b"<!DOCTYPE html><p>", "no sound: a web page"),
  ):
    assert refused(data) == reason
    with pytest.raises(Unreadable, match=reason):
      decoding.header(data)
  assert refused(wave_file(noise(0))).startswith("empty")
  assert refused(np.zeros(0, np.float32), 8000).startswith("empty")
  for bad in (np.nan, np.inf):
    assert "finite" in refused(np.array([0.5, bad], np.float32), 16_000)
  buffer = io.BytesIO()
  soundfile.write(buffer, sine(), 16_000, format="AU")
  assert refused(buffer.getvalue()).startswith("AU, which is not read")
  holed = bytearray(encoded(noise(30_000), "flac"))
  holed[20_000:20_400] = bytes(400)
  assert "damaged" in refused(bytes(holed))


def test_wave_from_a_pipe_is_whole():
  raw = noise(1000)
  data = bytearray(wave_file(raw))
  data[4:8] = data[40:44] = b"\xff" * 4  # as ffmpeg writes to a pipe
  np.testing.assert_array_equal(
    decoding.decode(bytes(data)), raw / np.float32(2**15)
  )


def test_wave_with_other_chunks_and_odd_sizes():
  raw = noise(100)
  data = wave_file(raw)
  extra = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
  data = data[:36] + extra + data[36:]
  assert len(decoding.decode(data)) == 100
  assert refused(data[:-2]) == "cut short"


def test_flac_of_unknown_length(tmp_path):
  raw = noise(30_000)
  data = bytearray(encoded(raw, "flac"))
  # The number of samples is the last 36 bits in front of the checksum.
  data[21] &= 0xF0
  data[22:26] = bytes(4)
  data = bytes(data)
  np.testing.assert_array_equal(decoding.decode(data), raw / np.float32(2**15))
  assert decoding.header(data) == (30_000, 16_000)
  path = tmp_path / "a.flac"
  path.write_bytes(data)
  assert decoding.header(path) == (30_000, 16_000)
  # The file ends within a frame.
  path.write_bytes(data[:-100])
  with pytest.raises(Unreadable, match="damaged or cut short"):
    decoding.header(path)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_resampled_sine(rate):
  samples = decoding.decode(sine(rate, rate).astype(np.float32), rate)
  assert samples.shape == (16_000,)
  # The first and last samples see the silence beyond.
  middle = slice(2000, -2000)
  np.testing.assert_allclose(samples[middle], sine(16_000)[middle], atol=1e-6)


def test_resampling_removes_what_would_fold():
  # 9 kHz would come back as 7 kHz.
  high = sine(48_000, 48_000, frequency=9000.0).astype(np.float32)
  middle = decoding.decode(high, 48_000)[2000:-2000]
  assert np.abs(middle).max() < 1e-4
  assert np.abs(high[::3]).max() > 0.4  # as taking each third sample does


def test_resampling_is_that_of_the_spectrum():
  rng = np.random.default_rng(0)
  spectrum = np.zeros(24_001, complex)
  spectrum[:6000] = rng.normal(size=6000) + 1j * rng.normal(size=6000)
  signal = np.fft.irfft(spectrum)  # one second of noise below 6 kHz
  signal /= np.abs(signal).max()
  truth = scipy.signal.resample(signal, 16_000)
  samples = decoding.decode(signal.astype(np.float32), 48_000)
  middle = slice(2000, -2000)
  np.testing.assert_allclose(samples[middle], truth[middle], atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 32_000, 44_100, 48_000])
def test_length_after_resampling_is_known(rate):
  for count in (*range(1, 30), 1001, 44_101):
    expected = decoding.resampled_length(count, rate, 16_000)
    if expected:
      samples = decoding.decode(np.ones(count, np.float32), rate)
      assert len(samples) == expected
    else:
      assert "empty" in refused(np.ones(count, np.float32), rate)
    assert abs(expected - count * 16_000 / rate) <= 0.5
  data = encoded(noise(10_001), "flac", rate)
  assert decoding.num_samples(data) == len(decoding.decode(data))


def test_arrays_are_checked():
  with pytest.raises(ValueError, match=r"must be floating.* got int16 \[4\]"):
    decoding.decode(np.zeros(4, np.int16), 16_000)
  with pytest.raises(ValueError, match=r"got float32 \[1, 2, 3\]"):
    decoding.decode(np.zeros((1, 2, 3), np.float32), 16_000)
  with pytest.raises(ValueError, match=r"needs its rate .* got None"):
    decoding.decode(np.zeros(4, np.float32))


def test_normalise():
  rng = np.random.default_rng(0)
  samples = (0.01 * rng.normal(size=5000) + 0.3).astype(np.float32)
  exact = samples.astype(np.float64)
  variance = np.mean((exact - exact.mean()) ** 2)
  for out, floor in (
    (decoding.normalise(samples), 1e-5),
    (decoding.normalise(samples, 1e-7), 1e-7),
  ):
    truth = (exact - exact.mean()) / np.sqrt(variance + floor)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, truth, rtol=1e-6, atol=1e-6)


def test_silence():
  assert decoding.is_silent(np.zeros(100, np.float32))
  assert decoding.is_silent(np.full(100, 0.5, np.float32))
  rng = np.random.default_rng(0)
  bits = rng.integers(-1, 2, 10_000) / 2**15  # noise of the last bit
  assert decoding.is_silent(bits.astype(np.float32))
  assert not decoding.is_silent(sine(amplitude=0.001))


def test_headers_of_files(tmp_path):
  path = tmp_path / "a.wav"
  path.write_bytes(wave_file(noise((300, 2)), 8000))
  assert decoding.header(path) == decoding.header(str(path)) == (300, 8000)
  assert decoding.num_samples(path) == 600
  assert decoding.num_samples(path, 4000) == 150
  assert soundfile.info(str(path)).channels == 2
  path.write_bytes(b"text")
  for missing, reason in ((path, "no sound: text"), ("missing.wav", "gone")):
    with pytest.raises(Unreadable, match=reason):
      decoding.num_samples(missing)


def test_frames_of_wav2vec_2():
  known = {16_000: 49, 20_000: 62, 32_000: 99, 250_000: 781, 320_000: 999}
  assert {n: layout.num_frames(n, layout.CONV_LAYERS) for n in known} == known
  assert type(layout.num_frames(400, layout.CONV_LAYERS)) is int
  frames = layout.num_frames(
    np.array([0, 1, 399, 400, 719, 720]), layout.CONV_LAYERS
  )
  assert frames.tolist() == [0, 0, 0, 1, 1, 2]


def test_frames_are_those_of_convolutions():
  layers = ((1, 4, 3), (1, 3, 1), (1, 2, 5))
  for samples in range(40):
    signal = np.ones(samples)
    for _, kernel, stride in layers:
      if len(signal) >= kernel:
        signal = np.convolve(signal, np.ones(kernel), "valid")[::stride]
      else:
        signal = signal[:0]
    assert layout.num_frames(samples, layers) == len(signal)


def test_frames_check_layers():
  for layers in (((512, 10),), ((512, 10, 0),)):
    with pytest.raises(ValueError, match="each of conv_layers must be"):
      layout.num_frames(400, layers)
