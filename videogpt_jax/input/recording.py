"""A recording: frames by number, whatever holds them.

Layouts (`input/layouts/`) find the recordings of a data set. A recording is a video file
(`input/video_file.py`), a part of one, a folder of images or an array. Everything above, such as
training, `data/prepare.py` and `sample --frames`, reads any of them through this protocol alone.

Video files come from `video_index.index(root, addresses)`: by name, the recording, or the reason
why there is none. `addresses` has the address of each video by its name: a path, or, for a member
of a tar, FFmpeg's 'subfile,,start,FIRST,end,LAST + 1,,:PATH'. `root` names the data set, whose
findings are cached together.

Letters: n frames of a recording; T frames of a clip; H W height and width that are asked for; h w
the recording's own.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing


class BrokenRecordingError(UserError):
  """A recording that cannot be read, or not to its end. The message leaves out its name."""


class Recording(Protocol):
  """Frames in the order in which they are shown. A frozen dataclass that pickles, so that other
  processes can read it.

  Attributes:
    name: unique in its data set: the path in the data set's folder, then what is inside the file,
      such as 'demos.hdf5:data/demo_3'. For messages and for holding out.
    times: float64 [n], seconds from the first frame to each, increasing; None where frames have
      numbers alone.
    size: (h, w) of all frames as they are shown; None where it is unknown or changes.
  """

  @property
  def name(self) -> str: ...

  @property
  def times(self) -> np.ndarray | None: ...

  @property
  def size(self) -> tuple[int, int] | None: ...

  def __len__(self) -> int: ...

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    """Yields the frames with these numbers, in one pass, each resized as soon as it is decoded.

    Args:
      indices: int [T] in [0, n), not decreasing.
      framing: as in `videogpt_jax.framing.reframe`; None yields frames as they are shown.
    Yields:
      [H W 3], RGB in [0, 255]: uint8 where a frame is stored at that size, else float32.
    Raises:
      BrokenRecordingError: a frame cannot be read.
    """


def read(recording: Recording, indices: np.ndarray, framing: Framing) -> np.ndarray:
  """Returns float32 [T H W 3] in [0, 255], or uint8 where all frames are stored at that size.

  See `Recording.frames` for the arguments and errors.
  """
  return np.stack(list(recording.frames(indices, framing)))


@dataclasses.dataclass(frozen=True)
class Part:
  """Consecutive frames of a recording, as a recording: an episode in a longer file.

  Attributes:
    name: of the part.
    whole: the recording.
    first: number of the part's first frame.
    count: number of its frames.
  """

  name: str
  whole: Recording
  first: int
  count: int

  @property
  def times(self) -> np.ndarray | None:
    times = self.whole.times
    if times is None:
      return None
    return times[self.first : self.first + self.count] - times[self.first]

  @property
  def size(self) -> tuple[int, int] | None:
    return self.whole.size

  def __len__(self) -> int:
    return self.count

  def frames(self, indices: np.ndarray, framing: Framing | None) -> Iterator[np.ndarray]:
    return self.whole.frames(indices + self.first, framing)


def changes_size(sizes: Iterable[tuple[int, int]]) -> str:
  """Returns the remark about frames of several sizes (w, h)."""
  sizes = ', '.join(f'{w}x{h}' for w, h in sizes)
  return f'its frames change size ({sizes}); each is resized for itself'


def frame_rate(recording: Recording) -> float | None:
  """Returns the usual frames per second, or None where frames have no times."""
  times = recording.times
  if times is None or len(times) < 2:
    return None
  return float(1 / np.median(np.diff(times)))


def places(recording: Recording, length: int, frame_skip: int = 1, fps: float = 0.0) -> int:
  """Returns the number of frames at which a clip of `length` frames can begin.

  Raises:
    BrokenRecordingError: `fps` is given, and frames have no times.
  """
  if not fps:
    return max(0, len(recording) - (length - 1) * frame_skip)
  times = _times(recording)
  frame_time = np.median(np.diff(times)) if len(times) > 1 else 0.0
  latest = times[-1] + frame_time - (length - 1) / fps
  return int(np.searchsorted(times, latest - 1e-6))


def pick(
  recording: Recording, start: float, length: int, frame_skip: int = 1, fps: float = 0.0
) -> np.ndarray:
  """Returns the frames of a clip: int64 [length], not decreasing.

  Args:
    recording: has at least one of the `places`.
    start: in [0, 1), position of the clip's start among the `places`.
    length: number of frames in the clip.
    frame_skip: distance between two frames, if fps is 0.
    fps: frames per second of the clip; takes the frames shown at those times.
  """
  first = int(start * places(recording, length, frame_skip, fps))
  if not fps:
    return first + np.arange(length) * frame_skip
  times = _times(recording)
  wanted = times[first] + np.arange(length) / fps
  return np.searchsorted(times, wanted + 1e-6, side='right') - 1


def sample(
  recording: Recording, frame_skip: int = 1, fps: float = 0.0, from_end: bool = False
) -> np.ndarray:
  """Returns all frames of a recording at a clip's distance: int64 [T], not decreasing.

  Args:
    recording: all of it.
    frame_skip: distance between two frames, if fps is 0.
    fps: frames per second; takes the frames shown at those times.
    from_end: whether the last frame is one of them, not the first.
  Raises:
    BrokenRecordingError: `fps` is given, and frames have no times.
  """
  n = len(recording)
  if not fps or n == 1:
    return np.arange((n - 1) % frame_skip if from_end else 0, n, frame_skip)
  times = _times(recording)
  wanted = np.arange(int(times[-1] * fps + 1e-6) + 1) / fps
  wanted = wanted + times[-1] - wanted[-1] if from_end else wanted
  return np.searchsorted(times, wanted + 1e-6, side='right') - 1


def _times(recording):
  if recording.times is None:
    raise BrokenRecordingError('no time stamps, which fps needs; set frame_skip instead')
  return recording.times
