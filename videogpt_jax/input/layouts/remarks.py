"""What a user should know about the recordings of a data set, said once for all that share it."""

import collections
from collections.abc import Iterable, Iterator

import numpy as np

from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.layouts.layout import some
from videogpt_jax.input.recording import Part, Recording

_UNEQUAL = 1.5  # ratio of long to short frames above which it is reported
_N_NAMED = 3


def about(recordings: Iterable[Recording], config: DatasetConfig) -> list[str]:
  """Returns remarks, a line each, with the names of the recordings that they are about."""
  names = collections.defaultdict(list)
  for recording in recordings:
    for remark in _remarks(recording, config):
      names[remark].append(recording.name)
  return [f'{some(of, _N_NAMED)}: {remark}' for remark, of in names.items()]


def _remarks(recording: Recording, config: DatasetConfig) -> Iterator[str]:
  whole = recording.whole if isinstance(recording, Part) else recording
  yield from getattr(whole, 'remarks', ())
  if fault := getattr(whole, 'fault', ''):
    yield f'used as far as it can be: {fault}'
  if recording.times is not None and len(recording.times) > 1 and not config.fps:
    short, long = np.quantile(np.diff(recording.times), (0.1, 0.9))
    if long > _UNEQUAL * short:
      yield f'its frames are shown for {short:.2g} to {long:.2g} s; dataset.fps samples by time'
