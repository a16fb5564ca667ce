"""Incremental decoding: the codes of a batch of clips, one after the other, in one program.

Codes that are given go through the prior a chunk at a time, in parallel; those that follow are
drawn inside `lax.scan`. The long cache grows by segments of static size, so that early codes do not
attend to empty places.

Axis letters: B clips; R rows that the prior computes, B or with guidance 2 B; L codes of a clip;
K n_codes; G codebooks; e size of a code's vector; C chunk length; Q positions taken at once.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.prior import Condition, Prior
from videogpt_jax.sampling import cache as caches
from videogpt_jax.sampling.controls import Controls
from videogpt_jax.sampling.few_rows import for_few_rows

CHUNK = 16
"""Codes that are drawn between two merges, at most: each step reads the keys of all of them."""

GIVEN_CHUNK = 64
"""Codes that are taken through the prior at once, at most."""

SEGMENTS = 12
"""Sizes that the long cache grows through in a whole clip, at most; each compiles its own loop.

With 12 a step reads 1/2 + 1/24 of the whole cache; with 8, 1/2 + 1/16, compiled in 2/3 of the time.
Of a sparse prior, which reads a few blocks of it at a time, it has its whole size from the start:
one loop does."""


class Decoded(NamedTuple):
  """What the loop has drawn.

  Attributes:
    codes: int32 [B *latent_shape].
    log_likelihood: float32 [B], nats, of the drawn codes under the prior at temperature 1 without
      guidance; given codes do not count.
    logits: float32 [B *latent_shape K] if asked for, else None.
  """

  codes: jax.Array
  log_likelihood: jax.Array
  logits: jax.Array | None


class _Carry(NamedTuple):
  """What passes from one chunk to the next.

  Attributes:
    code: int32 [B], the latest.
    log_likelihood: float32 [B].
    cache: of all positions so far.
  """

  code: jax.Array
  log_likelihood: jax.Array
  cache: caches.Cache


class _Program(NamedTuple):
  """What is the same for all positions.

  Attributes:
    forward: the prior, with its condition.
    controls: how a code is drawn.
    keys: PRNG keys [B].
    given: int32 [B L], of which the first `n_given` count.
    n_given: how many codes are given.
    with_logits: whether logits are wanted.
    report: told at every chunk how many codes there are, or None.
  """

  forward: '_Forward'
  controls: Controls
  keys: jax.Array
  given: jax.Array
  n_given: int
  with_logits: bool
  report: Callable[[Any], None] | None


def decode(
  prior: Prior,
  codebook: jax.Array,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None = None,
  with_logits: bool = False,
  report: Callable[[Any], None] | None = None,
) -> Decoded:
  """Draws the codes of B clips one after the other.

  Args:
    prior: the model.
    codebook: float32 [G K e], vectors of the codes.
    condition: of `prior.condition`.
    keys: PRNG keys [B], one a clip: a clip does not depend on the rest of its batch.
    controls: how a code is drawn from its logits.
    given: int32 [B n], codes of the first n positions, which are taken instead of drawn.
    with_logits: whether to return them.
    report: called on the host with the number of codes done, at every chunk.
  """
  L = math.prod(prior.codes.latent_shape)
  B, (chunk, given_chunk) = keys.shape[0], chunk_lengths(L, prior.mask)
  n_given = 0 if given is None else given.shape[1]
  given = jnp.zeros((B, 0), jnp.int32) if given is None else given
  given = jnp.pad(given, [(0, 0), (0, L - n_given)])
  R = B
  if controls.guidance is not None:
    R = 2 * B
    # The prior learns to do without a condition by seeing zeros in its place.
    condition = jax.tree.map(lambda c: jnp.concatenate([c, jnp.zeros_like(c)]), condition)
  forward = _Forward(prior, codebook, condition)
  program = _Program(forward, controls, keys, given, n_given, with_logits, report)
  sparse = prior.mask.layout is not None
  cache = caches.empty(prior.config, R, L if sparse else 0)
  carry = _Carry(jnp.zeros(B, jnp.int32), jnp.zeros(B), cache)
  n_parallel = n_given // given_chunk * given_chunk
  collected = []
  for do_chunk, C, first, last in (
    (_given_chunk, given_chunk, 0, n_parallel),
    (_drawn_chunk, chunk, n_parallel, L),
  ):
    for start, end in segments(first, last, C, L, 1 if sparse else SEGMENTS):
      carry = carry._replace(cache=caches.grow(carry.cache, L if sparse else end))
      # Where XLA knew that a first chunk has an empty cache, it would compute with it, slowly.
      starts = jax.lax.optimization_barrier(jnp.arange(start, end, C))
      carry, outputs = jax.lax.scan(functools.partial(do_chunk, program, C), carry, starts)
      collected.append(jax.tree.map(lambda a: rearrange(a, 'n B C ... -> B (n C) ...'), outputs))
  codes, logits = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *collected)
  shape = (B, *prior.codes.latent_shape)
  return Decoded(
    codes.reshape(shape), carry.log_likelihood, logits.reshape(*shape, -1) if with_logits else None
  )


def segments(first: int, last: int, chunk: int, length: int, most: int) -> list[tuple[int, int]]:
  """Cuts the positions from `first` to `last` into runs of whole chunks: (start, end).

  Of `length` positions there are `most` runs at most, none of a single chunk if there are more.
  """
  n_chunks = (last - first) // chunk
  n = min(max(n_chunks // 2, 1), math.ceil(most * (last - first) / length))
  edges = [first + n_chunks * i // n * chunk for i in range(n + 1)] if n else []
  return list(itertools.pairwise(edges))


def chunk_lengths(length: int, mask: CausalMask) -> tuple[int, int]:
  """Returns how many codes are drawn, and how many given ones taken, between two merges.

  The second tiles a clip, or each block of a layout; the first tiles the second.
  """
  given = _largest_divisor(length if mask.layout is None else mask.block, GIVEN_CHUNK)
  return _largest_divisor(given, CHUNK), given


def _largest_divisor(n: int, most: int) -> int:
  return max(c for c in range(1, min(most, n) + 1) if n % c == 0)


def _given_chunk(program: _Program, C: int, carry: _Carry, start: jax.Array):
  """Takes C given codes through the prior at once: (carry, (codes, logits))."""
  codes = jax.lax.dynamic_slice_in_dim(program.given, start, C, axis=1)
  before = jnp.concatenate([carry.code[:, None], codes[:, :-1]], axis=1)
  part = program.forward.begin(carry.cache, start, C)
  logits, local = program.forward(before, start + jnp.arange(C), part)
  cache = caches.merge(carry.cache, local, start)
  wanted = logits()[: len(codes)] if program.with_logits else None
  return carry._replace(code=codes[:, -1], cache=cache), (codes, wanted)


def _drawn_chunk(program: _Program, C: int, carry: _Carry, start: jax.Array):
  """Draws C codes: (carry, (codes, logits))."""
  if program.report is not None:
    jax.debug.callback(program.report, start)
  B, part = len(program.keys), program.forward.begin(carry.cache, start, C)

  def draw_code(carry, position):
    code, log_likelihood, local = carry
    logits, local = program.forward(code[:, None], position[None], part._replace(local=local))
    logits = logits()[:, 0]
    conditional = logits[:B]
    keys = jax.vmap(jax.random.fold_in, (0, None))(program.keys, position)
    drawn = program.controls.draw(program.controls.guide(logits), keys)
    free = position >= program.n_given
    code = jnp.where(free, drawn, program.given[:, position])
    chosen = jnp.take_along_axis(jax.nn.log_softmax(conditional), code[:, None], axis=-1)[:, 0]
    outputs = (code, conditional if program.with_logits else None)
    return (code, log_likelihood + jnp.where(free, chosen, 0), local), outputs

  (code, log_likelihood, local), outputs = jax.lax.scan(
    draw_code,
    (carry.code, carry.log_likelihood, part.local),
    start + jnp.arange(C),
  )
  outputs = jax.tree.map(lambda a: rearrange(a, 'C B ... -> B C ...'), outputs)
  return _Carry(code, log_likelihood, caches.merge(carry.cache, local, start)), outputs


class _Part(NamedTuple):
  """The cache as a chunk of codes sees it.

  Attributes:
    start: int32 scalar, the chunk's first position.
    view: what may be read of the long cache.
    local: keys and values of the chunk itself, of each block [R N C d].
  """

  start: jax.Array
  view: caches.View
  local: caches.Local


class _Forward:
  """The prior at some positions of a chunk, given the code before each of them.

  What is the same for all positions, such as the keys of the conditioning frames, is computed once,
  when it is made.
  """

  def __init__(self, prior: Prior, codebook: jax.Array, condition: Condition):
    self.prior, self.codebook = for_few_rows(nnx.clone(prior)), codebook
    self.norm, self.positions = condition.norm, prior.flat_positions()
    self.blocks = [for_few_rows(block) for block in prior.unstacked_blocks()]
    self.memory = [
      b.cross_attn.keys_values(condition.memory) if b.cross else None for b in self.blocks
    ]

  def begin(self, cache: caches.Cache, start: jax.Array, chunk: int) -> _Part:
    """Returns what a chunk of that many codes needs to know of the cache."""
    local = caches.empty_local(self.prior.config, cache[0][0].shape[0], chunk)
    return _Part(start, caches.view(cache, self.prior.mask, start, chunk), local)

  def __call__(self, before: jax.Array, positions: jax.Array, part: _Part):
    """Computes the logits at `positions`, which are in the chunk of `part`.

    Args:
      before: int32 [B Q], the code before each position; at the first one it does not matter.
      positions: int32 [Q].
      part: the cache.
    Returns:
      a function that returns the logits float32 [R Q K], and the local cache with these positions.
    """
    start, view, local = part
    n_rows, _, chunk, _ = local[0][0].shape
    admitted = view.positions < start, start + jnp.arange(chunk) <= positions[:, None]
    x = self._embed(jnp.tile(before, (n_rows // len(before), 1)), positions)
    norm = self.norm
    if norm is not None:
      norm = norm[:, positions * norm.shape[1] // len(self.positions)]
    updated = []
    for block, memory, prefix, own in zip(self.blocks, self.memory, view.cache, local, strict=True):

      def attend(q, k, v, prefix=prefix, own=own):
        q, k = self.prior.rotate(q, k, positions)
        own = caches.put(own, (k, v), positions[0] - start)
        updated.append(own)
        return caches.attend(q, prefix, own, admitted)

      x = block(x, norm, attend, memory)
    return lambda: self.prior.logits(x, norm), updated

  def _embed(self, before: jax.Array, positions: jax.Array) -> jax.Array:
    """Returns the blocks' input [R Q D]; see `Prior.embed`."""
    prior = self.prior
    vectors = self.codebook[(positions - 1) % len(self.codebook), before]
    x = prior.fc_in(vectors.astype(prior.config.dtype))
    x = jnp.where((positions == 0)[:, None], prior.sos[...], x) + self.positions[positions]
    return x.astype(prior.config.dtype)
