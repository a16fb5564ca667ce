"""The second stage: the prior learns the distribution of a trained tokenizer's codes."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.models.code_factors import CodeFactors
from videogpt_jax.models.conditioners import from_batch
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import sequential
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.stages.train_vqvae import code_counts
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.step import Batch, Metrics, Stage, Update


def prior_stage(config: PriorConfig, tokenizer: Tokenizer, previews: int = 0) -> Stage:
  """Returns the stage that trains a prior on the codes of `tokenizer`.

  Args:
    config: of the prior.
    tokenizer: the trained one.
    previews: videos that each evaluation draws.
  """
  spec = tokenizer.spec
  return Stage(
    name='prior',
    create=lambda rngs: Prior(config, spec, rngs=rngs),
    updates=(Update('prior', functools.partial(loss, config)),),
    evaluate=evaluate,
    summarise=functools.partial(summarise, spec),
    show=functools.partial(show, previews),
    frozen=tokenizer,
    held_out_loss='prior_nats_per_code',
  )


def loss(
  config: PriorConfig, prior: Prior, tokenizer: Tokenizer, batch: Batch, key: jax.Array
) -> tuple[jax.Array, Metrics]:
  """Returns the mean cross-entropy of a batch's codes, in nats a code.

  Each clip loses its whole condition with probability `cond_dropout`. With `history`, video is
  longer than a clip, which begins at a random latent frame of it.
  """
  if config.history and 'codes' not in batch:
    starts = jax.random.randint(
      jax.random.fold_in(key, 0), (len(batch['video']),), 0, config.history + 1
    )
    codes, _ = target(tokenizer, batch)
    spec = tokenizer.spec
    batch = spec.time_grid.stretch({**batch, 'codes': codes}, starts, spec.sequence_length)
  codes, embeddings = target(tokenizer, batch)
  condition = prior.condition(from_batch(batch, config))
  if config.cond_dropout:
    key, drop_key = jax.random.split(key)
    condition = condition.drop(config.cond_dropout, drop_key)
  logits = prior(embeddings, condition, key)
  nats = nats_per_code(prior.factors, logits, codes).mean()
  return nats, {'bits_per_code': nats / math.log(2)}


def evaluate(prior: Prior, tokenizer: Tokenizer, batch: Batch) -> Metrics:
  """Returns each clip's cross-entropy, [B] nats a code, and counts of its codes, [B G K]."""
  codes, embeddings = target(tokenizer, batch)
  logits = prior(embeddings, prior.condition(from_batch(batch, prior.config)))
  return {
    'nats_per_code': nats_per_code(prior.factors, logits, codes),
    'code_counts': code_counts(codes, prior.codes.n_codes),
  }


def show(previews: int, prior: Prior, tokenizer: Tokenizer, batch: Batch) -> dict[str, jax.Array]:
  """Draws a video for each of the first clips, under its conditions: float32 [n T H W 3].

  Video i is drawn from the same random numbers at every evaluation.
  """
  n = min(previews, len(next(iter(batch.values()))))
  if not n:
    return {}
  given = {name: x[:n] for name, x in from_batch(batch, prior.config).items()}
  vqvae, keys = tokenizer.module(), jax.random.split(jax.random.key(0), n)
  drawn = sequential.decode(
    prior, vqvae.codebook.lookup, prior.condition(given), keys, Controls(), None, False
  )
  return {'previews': jnp.clip(vqvae.decode(drawn.codes), -0.5, 0.5)}


def target(tokenizer: Tokenizer, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns the codes of a batch, encoded here unless it brings them, and their vectors."""
  vqvae = tokenizer.module()
  codes = batch['codes'] if 'codes' in batch else vqvae.encode(batch['video'])
  return codes, vqvae.codebook.lookup(codes)


def nats_per_code(factors: CodeFactors, logits: jax.Array, codes: jax.Array) -> jax.Array:
  """Returns each clip's mean cross-entropy, float32 [B]; logits [B ... K], codes int32 [B ...]."""
  return -factors.log_p(logits, codes).reshape(codes.shape[0], -1).mean(axis=1)


def summarise(spec: CodeSpec, means: Mapping[str, Any], n_clips: int) -> dict[str, float]:
  """Returns the scores of all clips from the means over them."""
  nats = means['nats_per_code']
  return {
    'prior_nats_per_code': float(nats),
    'prior_bits_per_code': codes_stats.bits_per_code(nats),
    'prior_bits_per_pixel_dim': codes_stats.bits_per_pixel_dim(
      nats, spec.latent_shape, spec.clip_shape
    ),
    'unigram_bits_per_code': codes_stats.unigram_bits_per_code(means['code_counts']),
  }
