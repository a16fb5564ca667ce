"""Samples and reconstructions of a model, in batches, as 8-bit clips.

The model is given as functions. Axes: N clips; B clips of a batch; T H W frames, height, width.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from videogpt_jax import files
from videogpt_jax.errors import UserError
from videogpt_jax.pixels import to_model_range, to_uint8
from videogpt_jax.progress import ProgressLine

Arrays = dict[str, np.ndarray]


def collect(batches: Iterable[Mapping[str, np.ndarray]], limit: int = 0) -> Arrays:
  """Gathers test clips and their labels in memory (16x64x64 clips: 197 kB each).

  Args:
    batches: `video` uint8, or float32 in [-0.5, 0.5], [B T H W 3]; `mask` float32 [B] (0 for
      padding); and anything else [B ...].
    limit: number of clips to gather; 0 gathers all.
  Returns:
    `video` uint8 [N T H W 3] and the rest [N ...], without the mask.
  Raises:
    UserError: there are no clips.
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
    raise UserError('the test split holds no clips; there is nothing to score against')
  gathered = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  return {name: x[: limit or n] for name, x in gathered.items()}


def reconstruct(
  autoencode: Callable[[np.ndarray], np.ndarray], video: np.ndarray, batch_size: int = 16
) -> np.ndarray:
  """Encodes and decodes clips.

  Args:
    autoencode: float32 [B T H W 3] in [-0.5, 0.5] -> the same, not clipped.
    video: uint8 [N T H W 3].
    batch_size: B.
  Returns:
    uint8 [N T H W 3].
  """
  result, line = np.empty_like(video), ProgressLine()
  for start in range(0, len(video), batch_size):
    batch, n = _padded(video[start : start + batch_size], batch_size)
    output = np.asarray(autoencode(to_model_range(batch)))[:n]
    result[start : start + n] = _to_uint8(output, (-0.5, 0.5), 'reconstruction', start, clip=True)
    line.show(f'{start + n}/{len(video)} reconstructions')
  line.close()
  return result


@dataclasses.dataclass(frozen=True)
class SamplingPlan:
  """The samples to draw.

  Attributes:
    order: int [N], the test clip that each sample belongs to.
    model: identifies the model and its sampling settings; samples of another are not reused.
    conditions: identifies what samples are conditioned on; '' for nothing.
    seed: of all samples.
    batch_size: samples drawn at a time.
  """

  order: np.ndarray
  model: str
  conditions: str = ''
  seed: int = 0
  batch_size: int = 16

  def record(self, shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns the plan as JSON values."""
    return dataclasses.asdict(self) | {'order': self.order.tolist(), 'shape': list(shape)}


def draw_samples(
  draw: Callable[[int, Arrays], np.ndarray],
  conditions: Arrays,
  plan: SamplingPlan,
  path: pathlib.Path,
) -> np.ndarray:
  """Draws one sample for each entry of the plan's order, into an array on disk.

  An interrupted call resumes when it is repeated with the same plan.

  Args:
    draw: (seed of the batch, conditions [B ...]) -> float [B T H W 3] in [0, 1].
    conditions: conditions from the test clips, [M ...] each; `video` as collected.
    plan: the samples.
    path: `.npy` file of the samples; a `.json` beside it holds the plan and the progress.
  Returns:
    uint8 [N T H W 3], mapped from the file.
  Raises:
    UserError: a sample holds a value that is not finite, or lies outside [0, 1].
  """
  shape = (len(plan.order), *conditions['video'].shape[1:])
  record, progress, done = plan.record(shape), path.with_suffix('.json'), 0
  if path.exists() and progress.exists():
    found = files.read_json(progress, {})
    done = found.pop('done', 0)
    done = done if found == record else 0
  path.parent.mkdir(parents=True, exist_ok=True)
  mode = 'r+' if done else 'w+'
  samples = np.lib.format.open_memmap(path, mode=mode, dtype=np.uint8, shape=shape)
  line = ProgressLine()
  for start in range(done, len(plan.order), plan.batch_size):
    indices, n = _padded(plan.order[start : start + plan.batch_size], plan.batch_size)
    batch = {name: x[indices] for name, x in conditions.items()}
    batch_seed = int(np.random.SeedSequence((plan.seed, start)).generate_state(1)[0] >> 1)
    video = np.asarray(draw(batch_seed, batch))[:n]
    samples[start : start + n] = _to_uint8(video, (0.0, 1.0), 'sample', start)
    samples.flush()
    files.write_json(progress, record | {'done': start + n})
    line.show(f'{start + n}/{len(plan.order)} samples')
  line.close()
  return samples


def _to_uint8(videos, span: tuple[float, float], name: str, first: int, clip: bool = False):
  return np.stack(
    [to_uint8(x, span, f'{name} {first + i}', clip=clip) for i, x in enumerate(videos)]
  )


def _padded(array: np.ndarray, size: int) -> tuple[np.ndarray, int]:
  """Repeats the last entry up to `size`, to keep one compiled shape; also returns the length."""
  return array[np.minimum(np.arange(size), len(array) - 1)], len(array)
