"""The stage `evaluate`: scores of the trained models on every held-out clip, reconstructions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax import media
from videogpt_jax.evaluation import intervals
from videogpt_jax.evaluation.scoring import Estimate, Estimates
from videogpt_jax.models.trained import Trained
from videogpt_jax.pixels import to_uint8
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.sharding import on_mesh, shard, shard_batch, shardings
from videogpt_jax.training.step import Stage, make_clip_step, make_show_step
from videogpt_jax.videogpt import VideoGPT

Batches = Callable[[], Iterable[Mapping[str, np.ndarray]]]


def score(
  model: VideoGPT | Tokenizer, test_batches: Batches, mesh: Mesh
) -> tuple[Estimates, np.ndarray]:
  """Returns the scores of the models on every held-out clip, and how often each code occurs there.

  Scores are means over clips with intervals; counts are float64 [G K].

  Args:
    model: the trained models, or the tokenizer alone.
    test_batches: makes the batches of all held-out clips, with `mask`.
    mesh: to spread a batch over.
  """
  scores, counts = {}, None
  for stage, network in _stages(model):
    arrays, whole = nnx.split_state(network.state, nnx.Param, ...), NamedSharding(mesh, P())
    arrays, frozen = shard(arrays, shardings(arrays, mesh)), shard(stage.frozen, whole)
    step = jax.jit(on_mesh(make_clip_step(stage), mesh), out_shardings=whole)
    each, sums, count = {}, {}, 0
    for batch in test_batches():
      figures, mask = jax.device_get(step(arrays, frozen, shard_batch(batch, mesh)))
      real = np.asarray(mask) > 0
      count += real.sum()
      for name, values in figures.items():
        values = np.asarray(values, np.float64)[real]
        sums[name] = sums.get(name, 0) + values.sum(axis=0)
        if values.ndim == 1:
          each.setdefault(name, []).append(values)
    counts = sums['code_counts'] if counts is None else counts
    means = {name: value / count for name, value in sums.items()}
    scores |= _estimates(stage, means, {name: np.concatenate(x) for name, x in each.items()}, count)
  return scores, counts


def _estimates(
  stage: Stage, means: dict[str, Any], each: Mapping[str, np.ndarray], count: int
) -> Estimates:
  """Returns a stage's scores, with intervals of those that depend on means of clips' figures."""
  ends = {name: intervals.of_mean(values) for name, values in each.items()}
  values = stage.summarise(means, count)
  sides = [stage.summarise(means | {name: ends[name][i] for name in ends}, count) for i in (0, 1)]
  pairs = {name: (sides[0][name], sides[1][name]) for name in values}
  return {
    name: Estimate(value, None, pairs[name] if pairs[name][0] < pairs[name][1] else None)
    for name, value in values.items()
  }


def _stages(model: VideoGPT | Tokenizer) -> Iterator[tuple[Stage, Trained]]:
  tokenizer = model.vqvae if isinstance(model, VideoGPT) else model
  yield vqvae_stage(tokenizer.config, tokenizer.latent_shape), tokenizer
  if isinstance(model, VideoGPT):
    yield prior_stage(model.config, tokenizer), model.prior


def write_reconstructions(model: VideoGPT, test_batches: Batches, path: Path, fps: float):
  """Writes a GIF of eight held-out clips, each original above its reconstruction."""
  stage, network = next(_stages(model))
  arrays = nnx.split_state(network.state, nnx.Param, ...)
  batch = next(iter(test_batches()))
  pairs = jax.jit(make_show_step(stage))(arrays, None, batch)['reconstructions']
  pairs = media.enlarge(to_uint8(pairs, clip=True))
  media.write_gif(path, media.grid(pairs, columns=len(pairs)), fps)
