"""What a run would see of a data set."""

import dataclasses
import itertools
import time

import numpy as np

from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.pipeline import DatasetInfo, describe, open_clips, train_batches

_MIN_BATCHES = 4  # the first fill the pipeline and are not timed


@dataclasses.dataclass(frozen=True)
class Inspection:
  """What was found.

  Attributes:
    info: sizes and classes.
    lengths: of each split, int [n], frames of its recordings; None where clips are generated.
    skipped: one line a recording that cannot be used.
    shapes: of each array in a batch, by name.
    clips_per_second: of training clips, with nothing else to do.
    video: float32 [n T H W 3] in [-0.5, 0.5], training clips; None for shards of codes.
  """

  info: DatasetInfo
  lengths: dict[str, np.ndarray | None]
  skipped: tuple[str, ...]
  shapes: dict[str, tuple[int, ...]]
  clips_per_second: float
  video: np.ndarray | None


def inspect(
  config: DatasetConfig, batch_size: int = 8, seed: int = 0, seconds: float = 5.0
) -> Inspection:
  """Opens a data set and reads training batches for `seconds`, at least a few.

  Raises:
    ValueError: the data is missing or broken.
  """
  splits = {split: open_clips(config, split) for split in ('train', 'test')}
  batches = train_batches(config, batch_size=batch_size, seed=seed)
  first = next(batches)
  next(batches)
  begun = time.perf_counter()
  for n_batches in itertools.count(1):
    next(batches)
    elapsed = time.perf_counter() - begun
    if n_batches >= _MIN_BATCHES and elapsed >= seconds:
      break
  return Inspection(
    info=describe(config),
    lengths={split: clips.lengths for split, clips in splits.items()},
    skipped=tuple(dict.fromkeys(line for clips in splits.values() for line in clips.skipped)),
    shapes={name: array.shape for name, array in first.items()},
    clips_per_second=n_batches * batch_size / elapsed,
    video=first['video'] if 'codes' not in first else None,
  )
