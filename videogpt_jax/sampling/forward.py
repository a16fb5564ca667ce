"""The prior at some positions, given the codes before them and a KV cache.

Axis letters: B clips; R rows that the prior computes, B or with guidance 2 B; L codes of a clip;
K logits; G codebooks; e size of a code's vector; C chunk length; Q positions taken at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.sampling import cache as caches
from videogpt_jax.sampling.few_rows import for_few_rows

Lookup = Callable[[jax.Array, jax.Array], jax.Array]
"""Codes int32 [B Q], and which codebook each is of, int32 [Q] or [B Q], to vectors [B Q e]."""


class Decoded(NamedTuple):
  """The codes that a strategy has drawn.

  Attributes:
    codes: int32 [B *latent_shape].
    log_likelihood: float32 [B], nats, of the drawn codes under the prior at temperature 1 without
      guidance; given codes do not count.
    logits: float32 [B *latent_shape K] if asked for, else None.
    passes: int32 [B], passes through the prior that drew codes of each clip.
  """

  codes: jax.Array
  log_likelihood: jax.Array
  logits: jax.Array | None
  passes: jax.Array


def with_and_without(condition: Condition) -> Condition:
  """Returns the condition of 2 B rows: as it is, then zeros, by which guidance does without one."""
  return jax.tree.map(lambda c: jnp.concatenate([c, jnp.zeros_like(c)]), condition)


class Part(NamedTuple):
  """The KV cache as a chunk of codes sees it.

  Attributes:
    start: int32 scalar, the chunk's first position, or [R], one a row.
    view: the part of the long cache that the chunk may read.
    local: keys and values of the chunk itself, [R N C d] for each block.
  """

  start: jax.Array
  view: caches.View
  local: caches.Local


class Forward:
  """The prior at some positions of a chunk, given the code before each of them.

  The constructor computes once what is the same for all positions, such as the keys and values of
  the conditioning frames.

  Attributes:
    mask: the prior's.
    latent_shape: of a clip's codes.
    factors: what the logits stand for.
    rotate: see `Prior.rotate`.
    before_first: [D] or [R 1 D], the blocks' input at the first position, without its position.
  """

  def __init__(self, prior: Prior, lookup: Lookup, condition: Condition):
    self.prior, self.lookup = for_few_rows(nnx.clone(prior)), lookup
    self.mask, self.latent_shape = prior.mask, prior.codes.latent_shape
    self.factors, self.rotate = prior.factors, prior.rotate
    self.norm, self.positions = condition.norm, prior.flat_positions()
    self.before_first = prior.sos[...]
    self.blocks = [for_few_rows(block) for block in prior.unstacked_blocks()]
    self.memory = [
      b.cross_attn.keys_values(condition.memory) if b.cross else None for b in self.blocks
    ]

  def begin(self, cache: caches.Cache, start: jax.Array, chunk: int) -> Part:
    """Returns the cache as a chunk of that many codes sees it, nothing of its own in it yet."""
    local = caches.empty_local(self.prior.config, cache[0][0].shape[0], chunk)
    return Part(start, caches.view(cache, self.mask, start, chunk), local)

  def empty_cache(self, n_rows: int, length: int) -> caches.Cache:
    """Returns a long cache of zeros."""
    return caches.empty(self.prior.config, n_rows, length)

  def __call__(self, before: jax.Array, positions: jax.Array, part: Part):
    """Computes the logits at `positions`, which are in the chunk of `part`.

    Args:
      before: int32 [B Q], the code before each position; at the first one it does not matter.
      positions: int32 [Q], consecutive and the same for all rows, or [B Q], of its own for each.
      part: the cache.
    Returns:
      a function that returns the logits float32 [R Q K], and the local cache with these positions.
    """
    start, view, local = part
    n_rows, _, chunk, _ = local[0][0].shape
    repeat = n_rows // len(before)
    if positions.ndim == 2:
      positions = jnp.tile(positions, (repeat, 1))
    first = start[..., None]  # [1], or [R 1]
    own = first + jnp.arange(chunk)  # [C], or [R C]
    admitted = view.positions < first, own[..., None, :] <= positions[..., None]
    x = self._embed(jnp.tile(before, (repeat, 1)), positions)
    norm = self._norm_at(positions)
    updated = []
    for block, memory, prefix, own in zip(self.blocks, self.memory, view.cache, local, strict=True):

      def attend(q, k, v, prefix=prefix, own=own):
        q, k = self.rotate(q, k, positions)
        own = caches.put(own, (k, v), positions[..., 0] - start)
        updated.append(own)
        return caches.attend(q, prefix, own, admitted)

      x = block(x, norm, attend, memory)
    return lambda: self.prior.logits(x, norm), updated

  def _norm_at(self, positions: jax.Array) -> jax.Array | None:
    """Returns the norms' condition [R Q C] at these positions."""
    if self.norm is None:
      return None
    runs = positions * self.norm.shape[1] // len(self.positions)
    if runs.ndim == 1:
      return self.norm[:, runs]
    return jnp.take_along_axis(self.norm, runs[..., None], axis=1)

  def _embed(self, before: jax.Array, positions: jax.Array) -> jax.Array:
    """Returns the blocks' input [R Q D]; see `Prior.embed`."""
    prior, n_codebooks = self.prior, (*self.latent_shape, 1)[3]
    vectors = self.lookup(before, (positions - 1) % n_codebooks)
    x = prior.fc_in(vectors.astype(prior.config.dtype))
    x = jnp.where((positions == 0)[..., None], self.before_first, x) + self.positions[positions]
    return x.astype(prior.config.dtype)
