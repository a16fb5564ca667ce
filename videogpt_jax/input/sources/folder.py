"""Recordings as people have them: folders, lists and files of every layout."""

import functools
import itertools
import logging

import numpy as np
import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.input import layouts, replaced
from videogpt_jax.input.actions import between, refuse_choices
from videogpt_jax.input.clips import Clips, resolve, tell_skipped
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.decoders import read
from videogpt_jax.input.faults import printable
from videogpt_jax.input.layouts.divide import Divided, divide
from videogpt_jax.input.layouts.stored import ArrayRecording
from videogpt_jax.input.recording import BrokenRecordingError, Part, frame_rate, pick

_log = logging.getLogger(__name__)

_SHIFTS = np.arange(8, dtype=np.float32) / 8
"""By how much a clip begins later in recordings that it can be cut from, if none can be read where
it should begin."""


def clips(config: DatasetConfig, split: str) -> Clips:
  """Returns the recordings of a split, without broken and short ones.

  Raises:
    UserError: there is no usable recording, training lacks a test class, or actions that are
      choices would have to be added up.
  """
  layout, divided = layouts.find(config), look(config)
  class_names = layout.classes()
  entries = divided.splits[resolve(split, divided.splits)]
  recordings = [entry.recording for entry in entries]
  T, size, A = config.sequence_length, config.frame_size, layout.action_dim
  if layout.choices:
    _check_choices(recordings, config)
  every = [entry.recording for part in divided.splits.values() for entry in part]
  dtype = tf.uint8 if all(_is_exact(recording, size) for recording in every) else tf.float32

  def decode(number, start):
    order = (number + np.arange(len(entries))) % len(entries)
    for shift, n in itertools.product(_SHIFTS, order):
      recording = recordings[n]
      try:
        frames = pick(recording, (start + shift) % 1, T, config.frame_skip, config.fps)
        video = read(recording, frames, config.framing).astype(dtype.as_numpy_dtype)
      except BrokenRecordingError as error:
        if config.broken == 'stop':
          raise UserError(f'{recording.name}: {error}; remove it') from error
        if not shift:
          replaced.add(recording.name, str(error))
        continue
      return video, between(entries[n].actions, frames) if A else np.float32(0), n
    raise UserError(f'no recording of {printable(config.path)} can be read any more')

  def read_clip(number, start):
    outputs = (dtype, tf.float32, tf.int64)
    video, actions, number = tf.numpy_function(decode, [number, start], outputs, stateful=False)
    clip = {'video': tf.ensure_shape(video, (T, *size, 3))}
    if class_names:
      numbers = [class_names.index(entry.label) for entry in entries]
      clip['label'] = tf.ensure_shape(tf.constant(numbers, tf.int32)[number], ())
    if A:
      clip['actions'] = tf.ensure_shape(actions, (T, A))
    return clip

  return Clips(
    len(entries),
    read_clip,
    class_names,
    A,
    lengths=np.array([len(recording) for recording in recordings]),
    skipped=tuple(map(str, divided.skipped)),
    frame_rate=_frame_rate(recordings, config),
  )


def _frame_rate(recordings, config) -> float:
  """Returns the median frames a second of clips, or 0 where recordings have no times."""
  rates = [rate for recording in recordings if (rate := frame_rate(recording))]
  return config.fps or (float(np.median(rates)) / config.frame_skip if rates else 0.0)


def look(config: DatasetConfig) -> Divided:
  """Returns the recordings of each split, and says once what was found and what is left out.

  Raises:
    UserError: there is no usable recording.
  """
  keys = ('path', 'video_key', 'action_key', 'columns', 'axes', 'action_order')
  keys += ('sequence_length', 'frame_skip', 'fps', 'test_fraction', 'group', 'broken')
  return _look(DatasetConfig('folder', **{key: getattr(config, key) for key in keys}))


@functools.lru_cache(maxsize=8)
def _look(config) -> Divided:
  path, layout = printable(config.path), layouts.find(config)
  divided = divide(layout, config)
  n = sum(map(len, divided.splits.values()))
  tell_skipped(path, [str(line) for line in divided.skipped], n)
  _log.info('%s: %s', path, divided.said)
  for remark in divided.remarks:
    _log.warning('%s: %s', path, remark)
  return divided


def _is_exact(recording, size) -> bool:
  """Whether frames are stored with 8 bits at the size that is asked for: batches are uint8 then."""
  whole = recording.whole if isinstance(recording, Part) else recording
  return isinstance(whole, ArrayRecording) and whole.size == size


def _check_choices(recordings, config):
  """Refuses clips that leave out frames whose actions are choices, which cannot be added up."""
  for recording in recordings:
    rate = frame_rate(recording)
    if config.frame_skip > 1 or (config.fps and rate and config.fps < 0.95 * rate):
      refuse_choices(recording.name)
