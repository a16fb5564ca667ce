"""Videos in a folder: train/ and test/ or one folder to hold some out of; one folder a class."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from videogpt_jax.input.clips import Clips, tell_skipped
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.video_file import Recording, read_frames
from videogpt_jax.input.video_folder import (
  check_classes,
  class_names_of,
  class_of,
  hold_out,
  split_folders,
)
from videogpt_jax.input.video_index import index


@dataclasses.dataclass(frozen=True)
class _Videos:
  """The usable videos below a folder, by path relative to it."""

  root: pathlib.Path
  recordings: Mapping[str, Recording]
  skipped: tuple[str, ...]
  class_names: tuple[str, ...] | None


def clips(config: DatasetConfig, split: str) -> Clips:
  """The usable videos of a split, each a recording; broken and short ones are left out.

  Raises:
    ValueError: no such folder, no usable video in it, or a test class that training lacks.
  """
  videos, class_names = _split(config, split)
  names = sorted(videos.recordings)
  recordings = [videos.recordings[name] for name in names]
  cut = (config.sequence_length, config.frame_skip, config.fps)

  def decode(number, start):
    recording = recordings[number]
    return read_frames(videos.root / names[number], recording, recording.pick(start, *cut))

  def read(number, start):
    frames = tf.numpy_function(decode, [number, start], tf.uint8, stateful=False)
    clip = {'video': tf.ensure_shape(frames, (config.sequence_length, None, None, 3))}
    if class_names:
      clip['label'] = tf.constant([class_names.index(class_of(name)) for name in names])[number]
    return clip

  lengths = np.array([len(recording.stamps) for recording in recordings])
  return Clips(len(names), read, class_names, lengths=lengths, skipped=videos.skipped)


def _split(config, split) -> tuple[_Videos, tuple[str, ...] | None]:
  """The videos of a split, and the classes of the training split."""
  train_folder, test_folder = split_folders(config.path)
  cut = (config.path, config.sequence_length, config.frame_skip, config.fps)
  train = _usable(train_folder, *cut)
  if test_folder is None:
    parts = hold_out(train.recordings, config.test_fraction)
    recordings = {name: train.recordings[name] for name in parts[split == 'test']}
    return dataclasses.replace(train, recordings=recordings), train.class_names
  if split == 'train':
    return train, train.class_names
  test = _usable(test_folder, *cut)
  if train.class_names:
    check_classes(list(test.recordings), train.class_names, config.path)
  return test, train.class_names


@functools.lru_cache(maxsize=8)
def _usable(root, path, length, frame_skip, fps):
  recordings, skipped = {}, []
  found = index(root)
  folder = root.relative_to(pathlib.Path(path).expanduser())
  for name, outcome in found.items():
    shown = (folder / name).as_posix()
    if isinstance(outcome, str):
      skipped.append(f'{shown}: {outcome}')
    elif not outcome.places(length, frame_skip, fps):
      needed = f'{length / fps:g} seconds' if fps else f'{(length - 1) * frame_skip + 1} frames'
      has = f'{outcome.times[-1]:.3g} s' if fps else f'{len(outcome.stamps)} frames'
      skipped.append(f'{shown}: too short ({has}; a clip needs {needed})')
    else:
      recordings[name] = outcome
  tell_skipped(path, skipped, len(recordings))
  return _Videos(root, recordings, tuple(skipped), class_names_of(found))
