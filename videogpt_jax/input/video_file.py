"""Frames out of a video file, in display order, by PyAV.

A decoder gives frames in display order. Their time stamps may still be missing or out of order (AVI
stores none), so that a frame is known by its place in that order, and a time stamp only helps to
seek.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import av
import numpy as np

SUFFIXES = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpg', '.webm')


class BrokenVideoError(ValueError):
  """A file that cannot be decoded from its first frame to its last."""


@dataclasses.dataclass(frozen=True)
class Recording:
  """When the frames of a file are shown.

  Attributes:
    stamps: int64 [n], strictly increasing, in units of `tick`.
    tick: seconds.
    seekable: whether `stamps` are the file's own, rather than made up at a constant rate.
  """

  stamps: np.ndarray
  tick: float
  seekable: bool

  @property
  def times(self) -> np.ndarray:
    """float64 [n], seconds from the first frame."""
    return (self.stamps - self.stamps[0]) * self.tick

  def places(self, length: int, frame_skip: int = 1, fps: float = 0.0) -> int:
    """At how many frames a clip of `length` frames can begin."""
    if not fps:
      return max(0, len(self.stamps) - (length - 1) * frame_skip)
    times = self.times
    frame_time = np.median(np.diff(times)) if len(times) > 1 else 0.0
    latest = times[-1] + frame_time - (length - 1) / fps
    return int(np.searchsorted(times, latest - 1e-6))

  def pick(self, start: float, length: int, frame_skip: int = 1, fps: float = 0.0) -> np.ndarray:
    """The frames of a clip: int64 [length], not decreasing.

    Args:
      start: in [0, 1), where among the `places` the clip begins.
      length: frames of the clip.
      frame_skip: distance of two frames, where fps is 0.
      fps: frames a second of the clip; each is the one on display at its time.
    """
    first = int(start * self.places(length, frame_skip, fps))
    if not fps:
      return first + np.arange(length) * frame_skip
    times = self.times
    wanted = times[first] + np.arange(length) / fps
    return np.searchsorted(times, wanted + 1e-6, side='right') - 1


def scan(path: pathlib.Path) -> Recording:
  """Decodes the whole file, without looking at the pixels.

  Raises:
    BrokenVideoError: it is no video, holds no frame, or decoding fails on the way.
  """
  stamps, tick = [], 0.0
  try:
    if not path.stat().st_size:
      raise BrokenVideoError('empty file')
    with av.open(str(path)) as container:
      if not container.streams.video or container.format.name == 'tty':  # FFmpeg draws text
        raise BrokenVideoError('no video stream')
      stream = container.streams.video[0]
      stream.codec_context.thread_count = 1
      for frame in container.decode(stream):
        stamps.append(frame.pts)
      tick, rate = float(stream.time_base or 0), float(stream.average_rate or 25)
  except (av.FFmpegError, OSError) as error:
    reason = error.strerror or error
    raise BrokenVideoError(f'decoding fails after {len(stamps)} frames ({reason})') from error
  if not stamps:
    raise BrokenVideoError('no frames')
  if None not in stamps and tick and (np.diff(stamps) > 0).all():
    return Recording(np.array(stamps, np.int64), tick, seekable=True)
  return Recording(np.arange(len(stamps)), 1 / rate, seekable=False)


def read_frames(path: pathlib.Path, recording: Recording, indices: np.ndarray) -> np.ndarray:
  """The given frames as they are displayed, rotation included.

  Args:
    path: the file.
    recording: what `scan` found in it.
    indices: int [T], frames by their place in display order, not decreasing.
  Returns:
    uint8 [T h w 3], RGB.
  Raises:
    BrokenVideoError: the file has changed since it was scanned.
  """
  wanted = set(indices.tolist())
  found = _seek(path, recording, wanted) if recording.seekable and min(wanted) else {}
  if found.keys() != wanted:
    found = _collect(enumerate(_decode(path)), wanted)
  if found.keys() != wanted:
    raise BrokenVideoError(f'{path} has changed since it was scanned; start the run again')
  size = found[int(indices[0])].shape
  if any(frame.shape != size for frame in found.values()):
    raise BrokenVideoError(f'{path} changes its frame size; re-encode it')
  return np.stack([found[int(i)] for i in indices])


def iterate_frames(path: pathlib.Path, indices: Iterator[int]) -> Iterator[np.ndarray]:
  """Frames uint8 [h w 3] of one pass over the file, by non-decreasing places; see `read_frames`."""
  decoded = enumerate(_decode(path))
  place, image = -1, None
  for index in indices:
    while place < index:
      place, frame = next(decoded)
      image = None
    image = _to_rgb(frame) if image is None else image
    yield image


def _seek(path, recording, wanted):
  """The wanted frames by their time stamps, from the key frame before them; some may be missing."""
  index_of = {int(recording.stamps[i]): i for i in wanted}
  frames = _decode(path, int(recording.stamps[min(wanted)]))
  return _collect(((index_of.get(frame.pts), frame) for frame in frames), wanted)


def _collect(numbered, wanted):
  found = {}
  try:
    for index, frame in numbered:
      if index in wanted:
        found[index] = _to_rgb(frame)
      if len(found) == len(wanted):
        break
  except (av.FFmpegError, OSError):
    pass  # whoever asks compares what was found with what was wanted
  return found


def _decode(path, from_stamp=None):
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # clips are read side by side already
    if from_stamp is not None:
      # The first packet may tell what later ones rely on: without x264's version in it, its older
      # 4:4:4 streams come out wrong.
      next(container.decode(stream))
      container.seek(from_stamp, stream=stream)
    yield from container.decode(stream)


def _to_rgb(frame):
  quarter_turns = round(frame.rotation / 90)  # counter-clockwise, as numpy counts
  return np.rot90(frame.to_ndarray(format='rgb24'), quarter_turns)
