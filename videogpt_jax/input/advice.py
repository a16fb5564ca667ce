"""What to set for a data set: frame rate, length, size, and whether to prepare shards."""

from collections.abc import Iterator

import numpy as np

from videogpt_jax import shipped
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.inspection import Inspection
from videogpt_jax.input.layouts.layout import count

_RATE = 8.0  # frames a second that show how people and robots move: 16 span two seconds
_SIDES = (64, 128, 256)
_FEW = 0.8  # share of recordings that a clip's length should leave


def advice(found: Inspection, config: DatasetConfig, batch_size: int) -> Iterator[str]:
  """Yields recommendations, each a reason with the setting that follows.

  Args:
    found: the inspection.
    config: what was inspected.
    batch_size: clips of a training step.
  """
  lengths = np.concatenate([n for n in found.lengths.values() if n is not None] or [[]])
  yield from _frame_rate(found, config, lengths)
  too_short = sum('too short' in line.reason for line in found.skipped)
  if len(lengths) and too_short > (1 - _FEW) * (too_short + len(lengths)):
    n = max(4, config.sequence_length // 2)
    yield (
      f'{too_short} recordings are shorter than a clip of {config.sequence_length} frames; '
      f'--config.dataset.sequence_length={n} takes those of {n} or more'
    )
  yield from _size(found, config)
  seconds = batch_size / max(found.clips_per_second, 1e-9)
  if config.source in ('folder', 'hdf5') and found.clips_per_second < 100:
    yield (
      f'a batch of {batch_size} takes {seconds:.2g} s to read; where a train step is faster, '
      f'prepare shards: {shipped.PREPARE} --source={printable(config.path)} --out=shards '
      f'--resolution={",".join(map(str, config.frame_size))}'
    )
  if found.alike:
    ours, theirs = found.alike[0]
    n = len(found.alike)
    yield (
      f'{count(n, "held-out recording")} {"is" if n == 1 else "are"} in training too, such as '
      f'{theirs} ({ours}): leave {"it" if n == 1 else "them"} out, or scores are too good'
    )


def _frame_rate(found, config, lengths):
  rates = found.frame_rates
  if not rates or config.fps or config.frame_skip > 1 or found.info.action_dim:
    return
  usual = max(rates, key=rates.get)
  spans = config.sequence_length / usual
  if usual >= 2 * _RATE and np.median(lengths) >= config.sequence_length * usual / _RATE:
    yield (
      f'a clip spans {spans:.2g} s at {usual:g} frames a second: --config.dataset.fps={_RATE:g} '
      f'shows {config.sequence_length / _RATE:g} s of movement'
    )
  elif len(rates) > 1:
    yield (
      f'frame rates differ ({min(rates):g} to {max(rates):g}): '
      f'--config.dataset.fps={min(usual, _RATE):g} gives all clips one'
    )


def _size(found, config):
  if not found.sizes:
    return
  heights, widths = np.array(list(found.sizes)).T
  usual = int(np.median(np.minimum(heights, widths)))
  fitting = [side for side in _SIDES if side <= usual]
  if min(config.frame_size) > usual:
    side = fitting[-1] if fitting else max(8, usual // 8 * 8)
    yield (
      f'frames of {usual} pixels are enlarged to {min(config.frame_size)}: '
      f'--config.dataset.resolution={side} does not'
    )
  n = list(found.sizes.values())
  aspects = np.repeat(widths / heights, n)  # of each recording
  shown = config.frame_size[1] / config.frame_size[0]
  kept = float(np.median(np.minimum(aspects / shown, shown / aspects)))
  if config.fit == 'crop' and kept < 0.7:
    height, wide = config.frame_size[0], float(np.median(aspects))
    width = max(16, round(height * wide / 16) * 16)
    alike = (np.abs(np.log(aspects / wide)) < 0.2).mean() > _FEW
    remedy = (
      f'--config.dataset.resolution="({height}, {width})" keeps nearly all, '
      '--config.dataset.fit=pad too'
      if alike
      else '--config.dataset.fit=pad shows all of it, upright and lying frames alike'
    )
    yield f'cropping keeps {kept:.0%} of a frame: {remedy}'
