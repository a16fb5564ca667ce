"""Videos in a folder: train/ and test/ or one folder to hold some out of; one folder a class."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from videogpt_jax.input.clips import Clips, tell_skipped
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.video_file import SUFFIXES, Recording, read_frames
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
      clip['label'] = tf.constant([class_names.index(_class_of(name)) for name in names])[number]
    return clip

  lengths = np.array([len(recording.stamps) for recording in recordings])
  return Clips(len(names), read, class_names, lengths=lengths, skipped=videos.skipped)


def _split(config, split) -> tuple[_Videos, tuple[str, ...] | None]:
  """The videos of a split, and the classes of the training split."""
  root = pathlib.Path(config.path).expanduser()
  if not root.is_dir():
    what = 'is no folder' if root.exists() else 'does not exist'
    raise ValueError(f'dataset.path ({root}) {what}; name a folder of {", ".join(SUFFIXES)} files')
  cut = (config.sequence_length, config.frame_skip, config.fps)
  train_root = root / 'train' if (root / 'train').is_dir() else root
  train = _usable(train_root, *cut)
  if train_root == root or not (root / 'test').is_dir():
    return _hold_out(train, config.test_fraction, split), train.class_names
  if split == 'train':
    return train, train.class_names
  test = _usable(root / 'test', *cut)
  if train.class_names:
    unknown = sorted(set(test.class_names or ['(no class folder)']) - set(train.class_names))
    if unknown:
      raise ValueError(
        f'{test.root} has classes that {train.root} lacks: {", ".join(unknown)}; a test class '
        'needs training videos'
      )
  return test, train.class_names


@functools.lru_cache(maxsize=8)
def _usable(root, length, frame_skip, fps):
  recordings, skipped = {}, []
  found = {path.relative_to(root).as_posix(): outcome for path, outcome in index(root).items()}
  for name, outcome in found.items():
    if isinstance(outcome, str):
      skipped.append(f'{name}: {outcome}')
    elif not outcome.places(length, frame_skip, fps):
      needed = f'{length / fps:g} seconds' if fps else f'{(length - 1) * frame_skip + 1} frames'
      has = f'{outcome.times[-1]:.3g} s' if fps else f'{len(outcome.stamps)} frames'
      skipped.append(f'{name}: too short ({has}; a clip needs {needed})')
    else:
      recordings[name] = outcome
  tell_skipped(root, skipped, len(recordings))
  in_folders = all('/' in name for name in found)
  class_names = tuple(sorted({_class_of(name) for name in found})) if in_folders else None
  return _Videos(root, recordings, tuple(skipped), class_names)


def _class_of(name):
  return name.split('/')[0]


def _hold_out(videos, fraction, split):
  """A share of the videos for the test, the same whatever their order; at least one."""
  names = sorted(videos.recordings, key=lambda name: hashlib.sha256(name.encode()).digest())
  n_test = max(1, round(fraction * len(names)))
  if len(names) == 1:
    raise ValueError(
      f'{videos.root} holds one usable video, {names[0]}; training needs one more to test with'
    )
  part = names[:n_test] if split == 'test' else names[n_test:]
  return dataclasses.replace(videos, recordings={name: videos.recordings[name] for name in part})
