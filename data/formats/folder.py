"""Recordings as people have them, in every layout of videogpt_jax/input/layouts/."""

import logging
from collections.abc import Iterator

from data.formats import Item, Listing, Options, RawClip
from videogpt_jax.errors import UserError
from videogpt_jax.input import decoders, layouts
from videogpt_jax.input.actions import between, refuse_choices
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.layouts.divide import divide
from videogpt_jax.input.recording import BrokenRecordingError, sample

_log = logging.getLogger(__name__)

_SAME = ('video_key', 'action_key', 'columns', 'axes', 'action_order', 'test_fraction', 'group')
_SAME += ('broken',)


def list_items(source: str, options: Options) -> Listing:
  """Lists the recordings; those that cannot be read are in the listing's `skipped`.

  Raises:
    UserError: there are none, or actions that are choices would have to be added up.
  """
  config = DatasetConfig(
    'folder', source, sequence_length=1, **{key: getattr(options, key) for key in _SAME}
  )
  layout = layouts.find(config)
  divided = divide(layout, config, whole=True)
  skipped = [str(line) for line in divided.skipped]
  if not divided.splits:
    raise UserError(f'{source} holds no usable clip: {"; ".join(skipped[:20]) or "it is empty"}')
  if layout.choices and (options.frame_skip > 1 or options.fps):
    refuse_choices(source)
  class_names = layout.classes()
  numbers = {name: number for number, name in enumerate(class_names or ())}
  items = [
    Item(entry.recording.name, split, label=numbers.get(entry.label), entry=entry)
    for split, entries in divided.splits.items()
    for entry in entries
  ]
  print(f'{source}: {divided.said}', *divided.remarks, sep='\n  ')
  return Listing(items, class_names, skipped=skipped)


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Yields the recording's frames, sampled by time stamp (`fps`) or by number (`frame_skip`)."""
  recording, actions = item.entry.recording, item.entry.actions
  which = sample(recording, options.frame_skip, options.fps)
  frames = decoders.frames(recording, which, options.framing)
  if options.broken == 'keep':
    frames = _before_a_break(frames, item.name)
  yield RawClip(frames, None if actions is None else between(actions, which))


def _before_a_break(frames, name):
  """Yields the frames up to one that cannot be read, which must not be the first."""
  n = 0
  try:
    for frame in frames:
      yield frame
      n += 1
  except BrokenRecordingError as error:
    if not n:
      raise
    _log.warning('%s: only its first %d frames are used: %s', name, n, error)
