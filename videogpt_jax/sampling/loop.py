"""Incremental decoding: all codes of a batch of clips, inside `lax.scan`, with a key-value cache.

A cache that is written and read in one scan body is copied whole at every step. So there are two:
a long prefix, which an inner scan only reads, and a small cache of the current chunk, which it
writes; one softmax runs over both, and the outer scan merges them. The prefix grows by segments of
static size, so that early codes do not attend to empty places.

Axis letters: B batch; L codes of a clip; K n_codes; G codebooks; e size of a code's vector;
N heads; S prefix length; C chunk length; d head size; D hidden_dim.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.prior import Condition, Prior
from videogpt_jax.sampling.controls import Controls

CHUNK = 64
"""Codes between two merges, at most."""

SEGMENTS = 8
"""Sizes that the prefix grows through, at most: each compiles its own loop."""

Cache = list[tuple[jax.Array, jax.Array]]
"""For each block, keys and values [B N S d]."""


class Decoded(NamedTuple):
  """What the loop has drawn.

  Attributes:
    codes: int32 [B *latent_shape].
    log_likelihood: float32 [B], nats, of these codes under the prior at temperature 1.
    logits: float32 [B *latent_shape K] if asked for, else None.
  """

  codes: jax.Array
  log_likelihood: jax.Array
  logits: jax.Array | None


def decode(
  prior: Prior,
  codebook: jax.Array,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None = None,
  n_given: jax.Array | int = 0,
  with_logits: bool = False,
) -> Decoded:
  """Draws the codes of B clips one after the other.

  Args:
    prior: the model.
    codebook: float32 [G K e], vectors of the codes.
    condition: of `prior.condition`.
    keys: PRNG keys [B], one a clip: a clip does not depend on the rest of its batch.
    controls: how a code is drawn from its logits.
    given: int32 [B *latent_shape], codes that are taken instead of drawn...
    n_given: ...at the first so many positions.
    with_logits: whether to return them.
  """
  L = math.prod(prior.codes.latent_shape)
  B, chunk = keys.shape[0], _chunk_length(L)
  given = jnp.zeros((B, L), jnp.int32) if given is None else given.reshape(B, L)
  step = _make_step(prior, codebook, condition)

  def decode_code(carry, position, prefix, start):
    code, log_likelihood, local = carry
    logits, local = step(code, position, prefix, local, start)
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, position)
    code = jnp.where(position < n_given, given[:, position], controls.draw(logits, step_keys))
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), code[:, None], axis=-1)[:, 0]
    outputs = (code, logits) if with_logits else (code, None)
    return (code, log_likelihood + chosen, local), outputs

  def decode_chunk(carry, start):
    code, log_likelihood, prefix = carry
    positions = start + jnp.arange(chunk)
    (code, log_likelihood, local), outputs = jax.lax.scan(
      lambda carry, position: decode_code(carry, position, prefix, start),
      (code, log_likelihood, _empty_cache(prior, B, chunk)),
      positions,
    )
    prefix = jax.tree.map(
      lambda p, c: jax.lax.dynamic_update_slice_in_dim(p, c, start, axis=2), prefix, local
    )
    return (code, log_likelihood, prefix), outputs

  carry = (jnp.zeros(B, jnp.int32), jnp.zeros(B), _empty_cache(prior, B, 0))
  collected = []
  for first, last in segments(L, chunk):
    code, log_likelihood, prefix = carry
    prefix = jax.tree.map(
      lambda a, n=last: jnp.pad(a, [(0, 0), (0, 0), (0, n - a.shape[2]), (0, 0)]), prefix
    )
    starts = jnp.arange(first, last, chunk)
    carry, outputs = jax.lax.scan(decode_chunk, (code, log_likelihood, prefix), starts)
    collected.append(outputs)
  codes, logits = jax.tree.map(
    lambda *parts: rearrange(jnp.concatenate(parts), 'n C B ... -> B (n C) ...'), *collected
  )
  shape = (B, *prior.codes.latent_shape)
  return Decoded(
    codes.reshape(shape), carry[1], logits.reshape(*shape, -1) if with_logits else None
  )


def segments(length: int, chunk: int) -> list[tuple[int, int]]:
  """Cuts `length` positions into at most `SEGMENTS` runs of whole chunks: (first, last + 1)."""
  n_chunks = length // chunk
  n = min(n_chunks, SEGMENTS)
  edges = [n_chunks * i // n * chunk for i in range(n + 1)]
  return list(itertools.pairwise(edges))


def _chunk_length(length: int) -> int:
  """Returns the largest divisor of `length` that is at most `CHUNK`."""
  return max(c for c in range(1, min(CHUNK, length) + 1) if length % c == 0)


def _empty_cache(prior: Prior, batch_size: int, length: int) -> Cache:
  config = prior.config
  shape = (batch_size, config.n_heads, length, config.hidden_dim // config.n_heads)
  return [(jnp.zeros(shape, config.dtype),) * 2 for _ in range(config.n_layers)]


def _make_step(prior: Prior, codebook: jax.Array, condition: Condition):
  """Returns the function that takes one position through the prior.

  (previous code [B], position, prefix, local cache, position where that starts) ->
  (logits [B K], local cache). What is the same for all positions is computed here, once.
  """
  blocks = prior.unstacked_blocks()
  positions = prior.flat_positions()
  memory = [b.cross_attn.keys_values(condition.memory) if b.cross else None for b in blocks]

  def step(code, position, prefix, local, start):
    vectors = codebook[(position - 1) % codebook.shape[0], code]
    x = jnp.where(position == 0, prior.sos[...], prior.fc_in(vectors.astype(prior.config.dtype)))
    x = (x + positions[position]).astype(prior.config.dtype)[:, None]
    norm = condition.norm
    if norm is not None:
      norm = norm[:, position * norm.shape[1] // positions.shape[0]][:, None]
    updated = []
    for block, block_memory, block_prefix, block_local in zip(
      blocks, memory, prefix, local, strict=True
    ):

      def attend(q, k, v, prefix=block_prefix, local=block_local):
        q, k = prior.rotate(q, k, position[None])
        y, local = attend_cached(q, k, v, prefix, local, start, position, prior.mask)
        updated.append(local)
        return y

      x = block(x, norm, attend, block_memory)
    return prior.logits(x, norm)[:, 0], updated

  return step


def attend_cached(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  prefix: tuple[jax.Array, jax.Array],
  local: tuple[jax.Array, jax.Array],
  start: jax.Array,
  position: jax.Array,
  mask: CausalMask,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Attention of one position to the prefix, the current chunk and itself.

  Args:
    q, k, v: [B 1 N d], of this position.
    prefix: keys and values [B N S d], of which those before `start` are filled.
    local: keys and values [B N C d] of positions from `start` on; k and v are put among them.
    start, position: int32 scalars.
    mask: which earlier positions may be attended to.
  Returns:
    [B 1 N d] and the local cache.
  """
  local = tuple(
    jax.lax.dynamic_update_slice_in_dim(
      cache, rearrange(new, 'B 1 N d -> B N 1 d'), position - start, axis=2
    )
    for cache, new in zip(local, (k, v), strict=True)
  )
  S, C = prefix[0].shape[2], local[0].shape[2]
  query = q[:, 0] * q.shape[-1] ** -0.5
  admitted = mask.rows(position[None], jnp.concatenate([jnp.arange(S), start + jnp.arange(C)]))[0]
  admitted &= jnp.concatenate([jnp.arange(S) < start, jnp.ones(C, bool)])
  scores = [
    jnp.einsum('BNd,BNSd->BNS', query, cache[0], preferred_element_type=jnp.float32)
    for cache in (prefix, local)
  ]
  scores = jnp.where(admitted, jnp.concatenate(scores, axis=-1), -jnp.inf)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  y = jnp.einsum('BNS,BNSd->BNd', weights[..., :S], prefix[1]) + jnp.einsum(
    'BNS,BNSd->BNd', weights[..., S:], local[1]
  )
  return y[:, None], local
