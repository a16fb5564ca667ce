"""The fourth stage: scores of the trained models on every held-out clip, and reconstructions."""

from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax import api, media
from videogpt_jax.stages.train_prior import Tokenizer, prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training import fit
from videogpt_jax.training.logging import to_uint8
from videogpt_jax.training.sharding import on_mesh, place, shardings
from videogpt_jax.training.step import make_evaluate_step, make_show_step

Batches = Callable[[], Iterable[Mapping[str, np.ndarray]]]
Scores = dict[str, float]


def score(model: api.VideoGPT | api.Tokenizer, test_batches: Batches, mesh: Mesh) -> Scores:
  """Returns the scores of the models on every held-out clip, by name.

  Args:
    model: the trained models, or the VQ-VAE alone.
    test_batches: makes the batches of all held-out clips, with `mask`.
    mesh: to spread a batch over.
  """
  scores = {}
  for stage, graph_and_state in _stages(model):
    _, params, variables = nnx.split(nnx.merge(*graph_and_state), nnx.Param, ...)
    whole, arrays = NamedSharding(mesh, P()), (params, variables)
    arrays, frozen = place(arrays, shardings(arrays, mesh)), place(stage.frozen, whole)
    step = jax.jit(on_mesh(make_evaluate_step(stage), mesh), out_shardings=whole)
    scores |= fit.evaluate(stage, step, arrays, frozen, test_batches(), mesh)[0]
  return scores


def _stages(model: api.VideoGPT | api.Tokenizer):
  tokenizer = getattr(model, 'vqvae', model)
  _, params, variables = nnx.split(nnx.merge(tokenizer.graphdef, tokenizer.state), nnx.Param, ...)
  vqvae = vqvae_stage(tokenizer.config)
  yield vqvae, (tokenizer.graphdef, tokenizer.state)
  if model is tokenizer:
    return
  frozen = Tokenizer(vqvae.abstract()[0], (params, variables))
  yield prior_stage(model.config, tokenizer.spec, frozen), (model.graphdef, model.state)


def write_reconstructions(model: api.VideoGPT, test_batches: Batches, path: Path, fps: int):
  """Writes a GIF of eight held-out clips, each original above its reconstruction."""
  stage, (graphdef, state) = next(_stages(model))
  _, params, variables = nnx.split(nnx.merge(graphdef, state), nnx.Param, ...)
  batch = next(iter(test_batches()))
  pairs = jax.jit(make_show_step(stage))((params, variables), None, batch)['reconstructions']
  pairs = media.enlarge(to_uint8(pairs))
  media.write_gif(path, media.grid(pairs, columns=len(pairs)), fps)
