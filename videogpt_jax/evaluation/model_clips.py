"""Sets of clips that a model makes: samples and reconstructions, ready to be scored.

The model comes as functions, so that this room knows no model. Axes: N clips; T H W frames, height,
width.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from videogpt_jax.evaluation.pixels import to_uint8

Arrays = dict[str, np.ndarray]


def collect(batches: Iterable[Mapping[str, np.ndarray]], limit: int = 0) -> Arrays:
  """Gathers test clips, and what belongs to them, in memory (16x64x64 clips: 197 kB each).

  Args:
    batches: with `video` float32 [B T H W 3] in [-0.5, 0.5], `mask` float32 [B] (0 for padding)
      and anything else [B ...].
    limit: how many clips are enough; 0 gathers all.
  Returns:
    `video` uint8 [N T H W 3] and the rest [N ...], without the mask.
  Raises:
    ValueError: there are no clips.
  """
  parts, n = [], 0
  for batch in batches:
    kept = np.asarray(batch.get('mask', np.ones(len(batch['video']))), bool)
    part = {name: np.asarray(x)[kept] for name, x in batch.items() if name != 'mask'}
    part['video'] = _to_uint8(part['video'], (-0.5, 0.5), 'test clip', n)
    parts.append(part)
    n += len(part['video'])
    if limit and n >= limit:
      break
  if not n:
    raise ValueError('the test split holds no clips; there is nothing to score against')
  gathered = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  return {name: x[: limit or n] for name, x in gathered.items()}


def reconstruct(
  autoencode: Callable[[np.ndarray], np.ndarray], video: np.ndarray, batch_size: int = 16
) -> np.ndarray:
  """Passes clips through a tokenizer and back.

  Args:
    autoencode: float32 [B T H W 3] in [-0.5, 0.5] -> the same, not clipped.
    video: uint8 [N T H W 3].
    batch_size: B, clips at a time.
  Returns:
    uint8 [N T H W 3].
  """
  result = np.empty_like(video)
  for start in range(0, len(video), batch_size):
    batch, n = _padded(video[start : start + batch_size], batch_size)
    output = np.clip(np.asarray(autoencode(from_uint8(batch)))[:n], -0.5, 0.5)
    result[start : start + n] = _to_uint8(output, (-0.5, 0.5), 'reconstruction', start)
  return result


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
  """Which samples are to be drawn.

  Attributes:
    order: int [N], the test clip that each sample belongs to.
    model: which model draws and how (its checkpoint, temperature), so that the samples of another
      are not taken for its own.
    seed: of all samples.
    batch_size: samples at a time.
  """

  order: np.ndarray
  model: str
  seed: int = 0
  batch_size: int = 16

  def record(self, shape: tuple[int, ...]) -> dict[str, Any]:
    """The plan as JSON holds it."""
    return dataclasses.asdict(self) | {'order': self.order.tolist(), 'shape': list(shape)}


def draw_samples(
  draw: Callable[[int, Arrays], np.ndarray],
  conditions: Arrays,
  plan: SamplingPlan,
  path: pathlib.Path,
) -> np.ndarray:
  """Draws one sample for each entry of the plan's order, into an array on disk.

  What an interrupted call has drawn stays; the next call with the same plan goes on from it.

  Args:
    draw: (seed of the batch, conditions [B ...]) -> float [B T H W 3] in [0, 1].
    conditions: what the test clips give a sampler, [M ...] each; `video` as collected.
    plan: the samples.
    path: `.npy` file of the samples; a `.json` beside it keeps the plan and how far it is.
  Returns:
    uint8 [N T H W 3], mapped from the file.
  Raises:
    ValueError: a sample holds a value that is not finite, or lies outside [0, 1].
  """
  shape = (len(plan.order), *conditions['video'].shape[1:])
  record, progress, done = plan.record(shape), path.with_suffix('.json'), 0
  if path.exists() and progress.exists():
    found = json.loads(progress.read_text())
    done = found.pop('done')
    done = done if found == record else 0
  path.parent.mkdir(parents=True, exist_ok=True)
  mode = 'r+' if done else 'w+'
  samples = np.lib.format.open_memmap(path, mode=mode, dtype=np.uint8, shape=shape)
  for start in range(done, len(plan.order), plan.batch_size):
    indices, n = _padded(plan.order[start : start + plan.batch_size], plan.batch_size)
    batch = {name: x[indices] for name, x in conditions.items()}
    batch_seed = int(np.random.SeedSequence((plan.seed, start)).generate_state(1)[0] >> 1)
    video = np.asarray(draw(batch_seed, batch))[:n]
    samples[start : start + n] = _to_uint8(video, (0.0, 1.0), 'sample', start)
    samples.flush()
    progress.write_text(json.dumps(record | {'done': start + n}))
    print(f'\r{start + n}/{len(plan.order)} samples', end='', file=sys.stderr, flush=True)
  print(file=sys.stderr)
  return samples


def from_uint8(video: np.ndarray) -> np.ndarray:
  """uint8 -> float32 in [-0.5, 0.5], as models take it."""
  return video.astype(np.float32) / 255 - 0.5


def _to_uint8(videos: np.ndarray, spans: tuple[float, float], name: str, first: int) -> np.ndarray:
  return np.stack([to_uint8(x, spans, f'{name} {first + i}') for i, x in enumerate(videos)])


def _padded(array: np.ndarray, size: int) -> tuple[np.ndarray, int]:
  """Repeats the last entry up to `size`, so that nothing is compiled twice; and how many are."""
  return array[np.minimum(np.arange(size), len(array) - 1)], len(array)
