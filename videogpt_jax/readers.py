"""Reads what callers name: classes by name, frames and actions from files.

Axis letters: n videos; T H W frames, height, width.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.framing import Framing, check_fit
from videogpt_jax.input.recording import BrokenRecordingError, Recording, frame_rate, sample
from videogpt_jax.models.conditioners import Array
from videogpt_jax.sampling import settings

PathOrArray = str | os.PathLike | Array


def class_labels(label: Any, names: Sequence[str], n: int) -> np.ndarray:
  """Returns int32 [n], of one class for all videos or one a video, by name or by number.

  Raises:
    UserError: there is no such class (the message lists those there are), or the number of classes
      is neither 1 nor n.
  """
  if not names:
    raise UserError('this prior is not conditioned on class_label; leave class_label out')
  labels = np.asarray(label)
  if labels.dtype.kind in 'UO':
    labels = np.asarray([class_number(str(name), names) for name in labels.ravel()]).reshape(
      labels.shape
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise UserError(f'class_label is {labels.dtype}; give names of classes, or whole numbers')
  if labels.shape not in ((), (n,)):
    raise UserError(
      f'class_label has {labels.size} classes for {n} videos; give one class for all, or {n}'
    )
  return np.broadcast_to(labels, (n,)).astype(np.int32)


def class_number(label: str, names: Sequence[str]) -> int:
  """Returns the number of the class with this name, or, failing that, with this number.

  Raises:
    UserError: there is no such class; the message lists those there are.
  """
  if label in names:
    return list(names).index(label)
  if label.isdecimal() and int(label) < len(names):
    return int(label)
  raise UserError(f'class_label {label!r} is not a class; classes are {", ".join(names)}')


@dataclasses.dataclass(frozen=True)
class Cut:
  """How clips are cut from recordings.

  Attributes:
    fps, frame_skip, fit, antialias: as in `videogpt_jax.input.config.DatasetConfig`.
    frame_rate: frames a second of the clips, where it is known; else 0.
  Raises:
    UserError: one of them is impossible.
  """

  fps: float = 0.0
  frame_skip: int = 1
  fit: str = 'crop'
  antialias: bool = False
  frame_rate: float = 0.0

  def __post_init__(self):
    check_fit(self.fit)
    if self.frame_skip < 1 or self.fps < 0 or not 0 <= self.frame_rate <= 1000:
      raise UserError(
        f'frame_skip ({self.frame_skip}) must be at least 1, fps ({self.fps}) not negative, and '
        f'frame_rate ({self.frame_rate}) in [0, 1000]'
      )

  def frame_rate_of(self, recording: Recording) -> float:
    """Returns the frames a second of clips of a recording, or 0 where frames have no times."""
    return self.fps or (frame_rate(recording) or 0.0) / self.frame_skip


@dataclasses.dataclass(frozen=True)
class Take:
  """The frames to take of a recording.

  Attributes:
    cut: how training cuts its clips.
    size: height and width.
    most: how many frames; fewer come where there are not as many.
    least: how many frames there must be.
    from_end: the last ones, not the first ones.
  """

  cut: Cut
  size: tuple[int, int]
  most: int
  least: int = 0
  from_end: bool = False


def video(name: str, source: PathOrArray, take: Take, n: int) -> Array:
  """Returns frames for n videos: those of an array, one a video, or of a file, the same for all.

  Args:
    name: of the argument, for messages.
    source: float [n T H W 3] in [-0.5, 0.5], or a path.
    take: the frames to take of a file.
    n: number of videos.
  Raises:
    UserError: the file cannot be read, or is too short.
  """
  if not isinstance(source, str | os.PathLike):
    return source
  frames = read_frames(name, pathlib.Path(source), take)
  if len(frames) < take.least:
    raise UserError(f'{name} {source} has {len(frames)} frames, but the prior needs {take.least}')
  return np.repeat(frames[None], n, axis=0)


def read_frames(name: str, path: pathlib.Path, take: Take) -> np.ndarray:
  """Returns frames of a file, brought to their size as training does, with a message.

  Args:
    name: of the argument, for messages.
    path: a video, a folder of images, an array, or a photo.
    take: the frames to take.
  Returns:
    float32 [T H W 3] in [-0.5, 0.5].
  Raises:
    UserError: the file cannot be read, or holds several recordings.
  """
  from videogpt_jax.input.decoders import read  # PyAV, which only files need

  recording = open_recording(name, path)
  cut = take.cut
  try:
    frames = sample(recording, cut.frame_skip, cut.fps, take.from_end)
    frames = frames[-take.most :] if take.from_end else frames[: take.most]
    shown = read(recording, frames, Framing(take.size, cut.fit, cut.antialias))
  except BrokenRecordingError as error:
    raise UserError(f'{name} {path} cannot be read: {error}') from None
  if recording.size and recording.size != take.size:
    (h, w), (H, W) = recording.size, take.size
    how = {'crop': 'resized and cropped', 'pad': 'resized and padded', 'stretch': 'stretched'}
    print(f'{path}: {w}x{h} {how[cut.fit]} to {W}x{H}')
  return shown.astype(np.float32) / np.float32(255) - np.float32(0.5)


def open_recording(name: str, path: pathlib.Path) -> Recording:
  """Returns the one recording at a path; a photo is a recording of one frame.

  Raises:
    UserError: there is none, or several (the message names some).
  """
  from videogpt_jax.input import layouts  # PyAV, which only files need

  if not path.exists():
    raise UserFileError(f'{name} {path} does not exist')
  try:
    recordings = layouts.recordings_at(str(path))
  except UserError as error:
    raise UserError(f'{name} {path} cannot be read: {error}') from None
  if len(recordings) > 1:
    names = ', '.join(recording.name for recording in recordings[:3])
    raise UserError(f'{name} {path} holds {len(recordings)} recordings, such as {names}; name one')
  return recordings[0]


def actions(source: PathOrArray, action_dim: int, n: int) -> Array:
  """Returns float32 [n T action_dim]: an array as it is, or a NumPy file's [T action_dim] for all.

  Raises:
    UserError: the file holds something else.
  """
  if not action_dim:
    raise UserError('this prior is not conditioned on actions; leave actions out')
  if not isinstance(source, str | os.PathLike):
    return source
  try:
    values = numpy_file.read_npy(source)  # mapped, so that nothing is read before it is looked at
  except FileNotFoundError:
    raise UserFileError(f'actions {source} does not exist') from None
  if values.ndim != 2 or values.shape[1] != action_dim or values.dtype.kind not in 'biuf':
    raise UserError(
      f'actions {source} is {values.dtype} {list(values.shape)}; this prior takes numbers [frames, '
      f'{action_dim}]'
    )
  if not 0 < len(values) <= settings.MOST_FRAMES:
    raise UserError(
      f'actions {source} has {len(values)} frames; it must have 1 to {settings.MOST_FRAMES}'
    )
  values = values.astype(np.float32)
  if not np.isfinite(values).all():
    raise UserError(f'actions {source} holds numbers that are not finite; remove them')
  return np.broadcast_to(values, (n, *values.shape))
