"""Reading of video files, as ratios within one run: `python -m benchmarks.videos`."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from unittest import mock

import av
import numpy as np
import tensorflow as tf

from videogpt_jax.framing import Framing
from videogpt_jax.input.clips import resize_and_crop
from videogpt_jax.input.recording import pick, read
from videogpt_jax.input.video_scan import scan

Row = tuple[str, float, str]
T, SIZE = 16, (64, 64)
_STARTS = np.random.default_rng(0).random(24)
_LOOKS = 20  # first looks at a clip of 10 s

_PEAK = """
import pathlib, re, sys
from videogpt_jax import machine
machine.slim_tensorflow()
from videogpt_jax.input import DatasetConfig, decoders, train_batches
config = DatasetConfig('folder', sys.argv[1], resolution=64, sequence_length=16)
batches = train_batches(config, batch_size=8, seed=0)
for _ in range(3):
  next(batches)
for pid in ('self', *decoders.processes()):
  status = pathlib.Path('/proc', str(pid), 'status').read_text()
  peak, mapped = (int(re.search(rf'{key}:\\s+(\\d+)', status)[1]) for key in ('VmHWM', 'RssFile'))
  print(peak if pid == 'self' else peak - mapped)  # libraries, which the program has mapped too
"""


def rows() -> list[Row]:
  """Returns (name, value, unit) of each measurement."""
  with tempfile.TemporaryDirectory() as scratch, cache_in(scratch):
    small = write_video(pathlib.Path(scratch, 'small/0.mp4'), 256, 340, 280)
    large = [write_video(pathlib.Path(scratch, f'4k/{i}.mp4'), 2160, 3840, 24) for i in range(2)]
    return [*_of_common_size(small), *_first_look(small), *_of_4k(large[0])]


def _of_common_size(path) -> list[Row]:
  recording, framing = scan(path), Framing(SIZE)
  clips = [pick(recording, start, T) for start in _STARTS]
  before = tf.function(
    lambda video: resize_and_crop(video, SIZE),
    input_signature=[tf.TensorSpec((T, None, None, 3), tf.uint8)],
  )
  ours, whole = _seconds(
    lambda: [read(recording, clip, framing) for clip in clips],
    lambda: [before(_whole_frames(path, recording.stamps[clip])) for clip in clips],
  )
  return [
    ('mp4 340x256 to 16x64x64, one core', len(clips) / ours, 'clips/s'),
    ('the same, to version 0.2', whole / ours, 'times as many'),
  ]


def _first_look(path) -> list[Row]:
  looks, decoding = _seconds(
    lambda: [scan(path) for _ in range(_LOOKS)],
    lambda: [_decode(path, 280) for _ in range(_LOOKS)],
  )
  return [
    ('first look at clips of 10 s, 340x256', _LOOKS / looks, 'files/s'),
    ('the same, to decoding them', decoding / looks, 'times as many'),
  ]


def _of_4k(path) -> list[Row]:
  recording, framing = scan(path), Framing(SIZE)
  ours, decoding = _seconds(
    lambda: read(recording, np.arange(T), framing), lambda: _decode(path, T), repeats=3
  )
  program = [sys.executable, '-c', _PEAK, str(path.parent)]
  output = subprocess.run(program, check=True, capture_output=True, text=True).stdout
  own, *decoders = (kilobytes / 1e6 for kilobytes in map(int, output.split()))
  return [
    ('4K H.264, 16 frames to 64x64', 1e3 * ours, 'ms'),
    ('the same, to decoding alone', ours / decoding, 'times as long'),
    ('4K H.264, batch of 8: peak memory', own + sum(decoders), 'GB'),
    (f'of which {len(decoders)} decoders', sum(decoders), 'GB'),
  ]


def _seconds(*jobs: Callable[[], object], repeats: int = 2) -> list[float]:
  """Returns the shortest time of each job, of this process alone, taking turns."""
  times = [[] for _ in jobs]
  for _ in range(repeats + 1):  # the first one fills caches
    for job, taken in zip(jobs, times, strict=True):
      begun = time.process_time()
      job()
      taken.append(time.process_time() - begun)
  return [min(taken[1:]) for taken in times]


def _decode(path, n):
  """Decodes the first n frames and looks at none."""
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    for i, _ in enumerate(container.decode(stream)):
      if i + 1 == n:
        return


def _whole_frames(path, stamps) -> np.ndarray:
  """Reads a clip as version 0.2 did: every frame decoded, those of the clip converted whole."""
  wanted, found = set(stamps.tolist()), {}
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    next(container.decode(stream))
    container.seek(int(stamps[0]), stream=stream)
    for frame in container.decode(stream):
      if frame.pts in wanted:
        found[frame.pts] = frame.to_ndarray(format='rgb24')
      if len(found) == len(wanted):
        break
  return np.stack([found[int(stamp)] for stamp in stamps])


def write_video(path: pathlib.Path, height: int, width: int, n_frames: int, seed=0) -> pathlib.Path:
  """Writes H.264 of a patch that moves over a noisy ground, with key frames every 140 frames."""
  path.parent.mkdir(exist_ok=True)
  rng = np.random.default_rng(seed)
  ground = rng.integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8)
  ground = ground.repeat(4, 0).repeat(4, 1)
  options = {'crf': '23', 'g': '140', 'preset': 'veryfast' if height > 1000 else 'medium'}
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('libx264', rate=28, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    for t in range(n_frames):
      image = np.roll(ground, (t // 2, t), (0, 1)) // 2
      image[60 + t // 4 : 160 + t // 4, t : t + 80] += 90
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())
  return path


@contextlib.contextmanager
def cache_in(scratch: str) -> Iterator[None]:
  """Keeps the index of these videos out of the user's cache."""
  with mock.patch.dict(os.environ, XDG_CACHE_HOME=scratch):
    yield


if __name__ == '__main__':
  for name, value, unit in rows():
    print(f'{name:<52} {value:10.2f} {unit}')
