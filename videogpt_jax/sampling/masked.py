"""Masked parallel decoding: all codes of a clip in a few passes through a prior without order.

Each pass predicts every masked code and keeps the draws that it is surest of; the rest stay masked.

Axis letters: B clips; R rows that the prior computes, B or with guidance 2 B; L codes of a clip;
K logits.

Source: Chang et al. 2022 (MaskGIT, arXiv 2202.04200), section 3.2, with noise on the confidence
that falls to 0; Yu et al. 2023 (MAGVIT, arXiv 2212.05199) decode video so.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.masking import cosine_share
from videogpt_jax.models.prior import Prior
from videogpt_jax.sampling.forward import Decoded, Lookup, with_and_without
from videogpt_jax.sampling.logits import Controls

PASSES = 12
"""Passes for a clip, where the settings leave the number open. MAGVIT's."""

NOISE = 4.5
"""Gumbel noise on log-confidence in the first pass; MaskGIT's published code has this value."""


class _State(NamedTuple):
  """What is known after some passes.

  Attributes:
    codes: int32 [B L].
    known: bool [B L].
    log_p: float32 [B L], nats of each code when it was kept; 0 for given ones.
    logits: float32 [B L K], those it was kept by, or None.
  """

  codes: jax.Array
  known: jax.Array
  log_p: jax.Array
  logits: jax.Array | None


def decode(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None = None,
  with_logits: bool = False,
  passes: int = PASSES,
) -> Decoded:
  """Draws the codes of B clips.

  The log-likelihood is the sum of each code's, given the codes of earlier passes. Codes of one pass
  are independent, so that it is no likelihood of the clip.

  Args:
    prior: one that predicts masked codes.
    lookup: the quantizer's codes to vectors.
    condition: of `prior.condition`.
    keys: PRNG keys [B], one a clip: a clip does not depend on the rest of its batch.
    controls: turns logits into a code.
    given: int32 [B n], the codes of the first n positions, which are kept instead of drawn.
    with_logits: whether to return the logits.
    passes: through the prior, at least 1; no more than there are codes to draw are useful.
  """
  shape = prior.codes.latent_shape
  B, length = len(keys), prior.length
  given = jnp.zeros((B, 0), jnp.int32) if given is None else given
  n_given = given.shape[1]
  if controls.guidance is not None:
    condition = with_and_without(condition)
  start = _State(
    codes=jnp.pad(given, [(0, 0), (0, length - n_given)]),
    known=jnp.broadcast_to(jnp.arange(length) < n_given, (B, length)),
    log_p=jnp.zeros((B, length)),
    logits=jnp.zeros((B, length, prior.factors.n_logits)) if with_logits else None,
  )

  def one_pass(state: _State, i: jax.Array) -> tuple[_State, None]:
    pass_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
    logits = _logits(prior, lookup, condition, controls, state)
    codes, log_p = _draw(prior, controls, pass_keys, logits)
    progress = (i + 1) / passes
    noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, length), (length,)))
    sure = log_p + NOISE * (1 - progress) * noise(pass_keys)
    n_known = length - jnp.floor(cosine_share(progress) * (length - n_given)).astype(jnp.int32)
    n_known = jnp.where(i == passes - 1, length, n_known)  # cos(pi / 2) rounds
    n_known = jnp.maximum(n_known, jnp.minimum(state.known.sum(axis=1, keepdims=True) + 1, length))
    order = jnp.argsort(jnp.where(state.known, -jnp.inf, -sure), axis=-1)
    known = jnp.argsort(order, axis=-1) < n_known
    new = known & ~state.known
    kept = None if state.logits is None else jnp.where(new[..., None], logits[:B], state.logits)
    codes, log_p = (
      jnp.where(new, now, old) for now, old in ((codes, state.codes), (log_p, state.log_p))
    )
    return _State(codes, known, log_p, kept), None

  end, _ = jax.lax.scan(one_pass, start, jnp.arange(passes))
  return Decoded(
    end.codes.reshape(B, *shape),
    end.log_p.sum(axis=1),
    None if end.logits is None else end.logits.reshape(B, *shape, -1),
    jnp.full(B, passes if n_given < length else 0),
  )


def _logits(prior, lookup, condition, controls, state) -> jax.Array:
  """One pass through the prior: float32 [R L K]."""
  repeat = 1 if controls.guidance is None else 2
  shape = len(state.codes), *prior.codes.latent_shape
  embeddings = lookup(state.codes.reshape(shape))
  embeddings, known = (
    jnp.concatenate([x] * repeat) for x in (embeddings, state.known.reshape(shape))
  )
  logits = prior(embeddings, condition, known=known)
  return logits.reshape(len(embeddings), prior.length, -1)


def _draw(prior, controls, keys, logits) -> tuple[jax.Array, jax.Array]:
  """Draws a code at every position: int32 [B L], and log-likelihoods float32 [B L]."""
  B, length = len(keys), prior.length
  rows = controls.guide(logits).reshape(B * length, -1)
  own = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(keys, jnp.arange(length))
  codes = prior.factors.draw(controls.draw, rows, own.reshape(-1)).reshape(B, length)
  return codes, prior.factors.log_p(logits[:B], codes)
