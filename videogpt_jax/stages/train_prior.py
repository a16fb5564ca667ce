"""The second stage: the prior learns the distribution of a trained tokenizer's codes."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.models import masking
from videogpt_jax.models.code_factors import CodeFactors
from videogpt_jax.models.conditioners import from_batch
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.strategies import AUTO, STRATEGIES, strategy_for
from videogpt_jax.stages.train_vqvae import code_counts
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.step import Batch, Metrics, Stage, Update

LOOKS = 8
"""Masks of each held-out clip by which a prior of masked codes is scored."""


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
  if config.target == 'masked':
    key, choice, count = jax.random.split(key, 3)
    counts = masking.training_counts(count, len(codes), prior.length)
    nats = _of_masked(prior, codes, embeddings, condition, counts, choice, key)
  else:
    nats = nats_per_code(prior.factors, prior(embeddings, condition, key), codes)
  nats = nats.mean()
  return nats, {'bits_per_code': nats / math.log(2)}


def evaluate(prior: Prior, tokenizer: Tokenizer, batch: Batch) -> Metrics:
  """Returns each clip's cross-entropy, [B] nats a code, and counts of its codes, [B G K]."""
  codes, embeddings = target(tokenizer, batch)
  condition = prior.condition(from_batch(batch, prior.config))
  return {
    'nats_per_code': _scored(prior, codes, embeddings, condition),
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
  draw = STRATEGIES[strategy_for(AUTO, prior.config)]
  drawn = draw(prior, vqvae.codebook.lookup, prior.condition(given), keys, Controls(), None, False)
  return {'previews': jnp.clip(vqvae.decode(drawn.codes), -0.5, 0.5)}


def target(tokenizer: Tokenizer, batch: Batch) -> tuple[jax.Array, jax.Array]:
  """Returns the codes of a batch, encoded here unless it brings them, and their vectors."""
  vqvae = tokenizer.module()
  codes = batch['codes'] if 'codes' in batch else vqvae.encode(batch['video'])
  return codes, vqvae.codebook.lookup(codes)


def nats_per_code(
  factors: CodeFactors, logits: jax.Array, codes: jax.Array, masked: jax.Array | None = None
) -> jax.Array:
  """Returns the mean cross-entropy of each clip's codes, or of its masked ones: float32 [B].

  Args:
    factors: what the logits stand for.
    logits: [B ... K].
    codes: int32 [B ...].
    masked: bool [B ...], or None for all.
  """
  nats = -factors.log_p(logits, codes)
  axes = tuple(range(1, nats.ndim))
  return nats.mean(axis=axes) if masked is None else jnp.mean(nats, axis=axes, where=masked)


def _of_masked(prior, codes, embeddings, condition, counts, choice, key=None) -> jax.Array:
  """Masks `counts` [B] codes of each clip, by the key `choice`: nats of each of them, [B]."""
  masked = masking.choose(choice, counts, prior.length).reshape(codes.shape)
  logits = prior(embeddings, condition, key, known=~masked)
  return nats_per_code(prior.factors, logits, codes, masked)


def _scored(prior, codes, embeddings, condition) -> jax.Array:
  """Returns each clip's cross-entropy, [B] nats a code.

  If the prior predicts masked codes, it is the mean over `LOOKS` masks of a clip, the same at every
  evaluation, which estimates that of drawing one code at a time in a random order.
  """
  if prior.config.target == 'next':
    return nats_per_code(prior.factors, prior(embeddings, condition), codes)

  def look(inputs):
    count, choice = inputs
    counts = jnp.full(len(codes), count)
    return _of_masked(prior, codes, embeddings, condition, counts, choice)

  looks = masking.scoring_counts(LOOKS, prior.length), jax.random.split(jax.random.key(0), LOOKS)
  return jax.lax.map(look, looks).mean(axis=0)


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
