"""The second stage: the prior learns the distribution of a trained VQ-VAE's codes."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.models.prior import CodeSpec, Condition, Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.stages.train_vqvae import code_counts
from videogpt_jax.training.step import Batch, Metrics, Stage


class Tokenizer(NamedTuple):
  """A trained VQ-VAE as arrays, so that a compiled step takes it as an argument."""

  graphdef: nnx.GraphDef
  state: tuple[nnx.State, nnx.State]


def prior_stage(config: PriorConfig, spec: CodeSpec, tokenizer: Tokenizer) -> Stage:
  """Returns the stage that trains a prior on the codes of `tokenizer`."""

  def target(frozen, batch) -> tuple[jax.Array, jax.Array]:
    """The codes of a batch and their vectors: the one place where video becomes codes."""
    vqvae: VQVAE = nnx.merge(tokenizer.graphdef, *frozen)
    codes = batch['codes'] if 'codes' in batch else vqvae.encode(batch['video'])
    return codes, vqvae.codebook.lookup(codes)

  def loss(prior: Prior, frozen, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
    codes, embeddings = target(frozen, batch)
    condition = condition_of(prior, batch)
    if config.cond_dropout:
      key, drop_key = jax.random.split(key)
      condition = condition.drop(config.cond_dropout, drop_key)
    logits = prior(embeddings, condition, key)
    nats = nats_per_code(logits, codes).mean()
    return nats, {'bits_per_code': nats / math.log(2)}

  def evaluate(prior: Prior, frozen, batch: Batch) -> Metrics:
    codes, embeddings = target(frozen, batch)
    logits = prior(embeddings, condition_of(prior, batch))
    return {
      'nats_per_code': nats_per_code(logits, codes),
      'code_counts': code_counts(codes, spec.n_codes),
    }

  return Stage(
    name='prior',
    create=lambda rngs: Prior(config, spec, rngs=rngs),
    loss=loss,
    evaluate=evaluate,
    summarise=functools.partial(summarise, spec),
    show=lambda prior, frozen, batch: {},
    frozen=tokenizer.state,
  )


def condition_of(prior: Prior, batch: Batch) -> Condition:
  """Takes from a batch what this prior is conditioned on."""
  config = prior.config
  return prior.condition(
    class_label=batch['label'] if config.n_classes else None,
    frames=batch['video'][:, : config.n_cond_frames] if config.n_cond_frames else None,
    actions=batch['actions'] if config.action_dim else None,
  )


def nats_per_code(logits: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns each clip's mean cross-entropy, float32 [B]; logits [B ... K], codes int32 [B ...]."""
  log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], axis=-1)
  return -log_p.reshape(codes.shape[0], -1).mean(axis=1)


def summarise(spec: CodeSpec, means: Mapping[str, Any]) -> dict[str, float]:
  """Scores of all clips from the means over them."""
  nats, video = means['nats_per_code'], (spec.sequence_length, spec.resolution, spec.resolution, 3)
  return {
    'prior_nats_per_code': float(nats),
    'prior_bits_per_code': codes_stats.bits_per_code(nats),
    'prior_bits_per_pixel_dim': codes_stats.bits_per_pixel_dim(nats, spec.latent_shape, video),
    'unigram_bits_per_code': codes_stats.unigram_bits_per_code(means['code_counts']),
  }
