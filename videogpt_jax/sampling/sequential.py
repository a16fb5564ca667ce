"""Sequential decoding: the codes of a batch of clips, one after the other, in one program.

Prefill takes given codes through the prior a chunk at a time, in parallel; the codes that follow
are drawn inside `lax.scan`. The long KV cache grows by segments of static size, so that early codes
do not attend to empty places.

Axis letters: B clips; R rows that the prior computes, B or with guidance 2 B; L codes of a clip;
K logits; G codebooks; e size of a code's vector; C chunk length; Q positions taken at once.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.sampling import cache as caches
from videogpt_jax.sampling.forward import Decoded, Forward, Lookup, with_and_without
from videogpt_jax.sampling.logits import Controls

CHUNK = 16
"""Codes drawn between two merges into the long cache, at most."""

PREFILL_CHUNK = 64
"""Given codes that go through the prior at once, at most."""

SEGMENTS = 12
"""Sizes that the long cache grows through in a whole clip, at most; each compiles its own loop.

With n sizes a step reads 1/2 + 1/(2 n) of the whole cache. A sparse prior, which gathers a few
blocks for each chunk, has its cache allocated at full size: one loop is enough."""


class Carry(NamedTuple):
  """The state that passes from one chunk to the next.

  Attributes:
    code: int32 [B], the latest code.
    log_likelihood: float32 [B], nats, of the codes drawn so far.
    cache: keys and values of all positions so far.
  """

  code: jax.Array
  log_likelihood: jax.Array
  cache: caches.Cache


class Program(NamedTuple):
  """Everything that is the same for all positions; see `decode`.

  Attributes:
    n_rows: R.
    n_prefilled: of the given codes, those that prefill takes.
    given: int32 [B L], the first n_given of which count.
  """

  forward: Forward
  controls: Controls
  keys: jax.Array
  given: jax.Array
  n_given: int
  n_prefilled: int
  n_rows: int
  with_logits: bool

  @property
  def length(self) -> int:
    """L."""
    return math.prod(self.forward.latent_shape)

  @property
  def sparse(self) -> bool:
    """Whether the long cache has its full size from the beginning, because a layout is gathered."""
    return self.forward.mask.layout is not None

  def segments(self, first: int, last: int, chunk: int) -> list[tuple[int, int]]:
    """Cuts positions into the runs between which the long cache grows."""
    return segments(first, last, chunk, self.length, 1 if self.sparse else SEGMENTS)

  def grow(self, cache: caches.Cache, end: int) -> caches.Cache:
    """Returns the cache with room for the positions before `end`."""
    return caches.grow(cache, self.length if self.sparse else end)

  def draw(self, logits: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws the codes at `positions`, or takes those that are given.

    Args:
      logits: float32 [R Q K].
      positions: int32 [B Q].
    Returns:
      codes int32 [B Q], and their log-likelihood [B Q], 0 for the given ones.
    """
    B, Q = positions.shape
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(self.keys, positions)
    rows = self.controls.guide(logits).reshape(B * Q, -1)
    factors = self.forward.factors
    drawn = factors.draw(self.controls.draw, rows, keys.reshape(-1)).reshape(B, Q)
    free = positions >= self.n_given
    codes = jnp.where(free, drawn, jnp.take_along_axis(self.given, positions, axis=1))
    return codes, jnp.where(free, factors.log_p(logits[:B], codes), 0)


def decode(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None = None,
  with_logits: bool = False,
) -> Decoded:
  """Draws the codes of B clips one after the other.

  Args:
    prior: the model.
    lookup: the quantizer's codes to vectors.
    condition: of `prior.condition`.
    keys: PRNG keys [B], one a clip: a clip does not depend on the rest of its batch.
    controls: turns logits into a code.
    given: int32 [B n], the codes of the first n positions, which are kept instead of drawn.
    with_logits: whether to return the logits.
  """
  program = make_program(prior, lookup, condition, keys, controls, given, with_logits)
  carry, collected = prefill(program)
  chunk, _ = chunk_lengths(program.length, prior.mask)
  carry, drawn = _run(program, _drawn_chunk, carry, chunk, program.n_prefilled, program.length)
  codes, logits = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *collected, *drawn)
  shape = (len(keys), *prior.codes.latent_shape)
  passes = jnp.full(len(keys), program.length - program.n_prefilled)
  logits = logits.reshape(*shape, -1) if with_logits else None
  return Decoded(codes.reshape(shape), carry.log_likelihood, logits, passes)


def make_program(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None,
  with_logits: bool,
) -> Program:
  """Prepares what is the same for all positions; for the arguments see `decode`."""
  L = math.prod(prior.codes.latent_shape)
  B, (_, given_chunk) = len(keys), chunk_lengths(L, prior.mask)
  given = jnp.zeros((B, 0), jnp.int32) if given is None else given
  n_given, n_rows = given.shape[1], B
  if controls.guidance is not None:
    n_rows = 2 * B
    condition = with_and_without(condition)
  return Program(
    forward=Forward(prior, lookup, condition),
    controls=controls,
    keys=keys,
    given=jnp.pad(given, [(0, 0), (0, L - n_given)]),
    n_given=n_given,
    n_prefilled=n_given // given_chunk * given_chunk,
    n_rows=n_rows,
    with_logits=with_logits,
  )


def prefill(program: Program) -> tuple[Carry, list]:
  """Takes the given codes that fill whole chunks through the prior.

  Returns:
    the state after them, and a list of (codes int32 [B n], logits float32 [B n K] or None).
  """
  B = len(program.keys)
  cache = program.forward.empty_cache(program.n_rows, program.length if program.sparse else 0)
  carry = Carry(jnp.zeros(B, jnp.int32), jnp.zeros(B), cache)
  _, chunk = chunk_lengths(program.length, program.forward.mask)
  return _run(program, _prefill_chunk, carry, chunk, 0, program.n_prefilled)


def _run(program: Program, do_chunk: Callable, carry: Carry, C: int, first: int, last: int):
  """Runs `do_chunk` over the chunks from `first` to `last`: (carry, outputs [B n ...] by run)."""
  collected = []
  for start, end in program.segments(first, last, C):
    carry = carry._replace(cache=program.grow(carry.cache, end))
    # The barrier hides that the first cache is empty: XLA would fold that, slowly, in compiling.
    starts = jax.lax.optimization_barrier(jnp.arange(start, end, C))
    carry, outputs = jax.lax.scan(functools.partial(do_chunk, program, C), carry, starts)
    collected.append(jax.tree.map(lambda a: rearrange(a, 'n B C ... -> B (n C) ...'), outputs))
  return carry, collected


def segments(first: int, last: int, chunk: int, length: int, most: int) -> list[tuple[int, int]]:
  """Cuts the positions from `first` to `last` into runs of whole chunks: (start, end).

  A whole clip of `length` positions has at most `most` runs. If there are several runs, each has at
  least two chunks.
  """
  n_chunks = (last - first) // chunk
  n = min(max(n_chunks // 2, 1), math.ceil(most * (last - first) / length))
  edges = [first + n_chunks * i // n * chunk for i in range(n + 1)] if n else []
  return list(itertools.pairwise(edges))


def chunk_lengths(length: int, mask: CausalMask) -> tuple[int, int]:
  """Returns the chunk lengths of drawing and of prefill.

  The second tiles a clip, or each block of a layout; the first tiles the second.
  """
  given = _largest_divisor(length if mask.layout is None else mask.block, PREFILL_CHUNK)
  return _largest_divisor(given, CHUNK), given


def _largest_divisor(n: int, most: int) -> int:
  return max(c for c in range(1, min(most, n) + 1) if n % c == 0)


def _prefill_chunk(program: Program, C: int, carry: Carry, start: jax.Array):
  """Prefill: takes C given codes through the prior at once: (carry, (codes, logits))."""
  codes = jax.lax.dynamic_slice_in_dim(program.given, start, C, axis=1)
  before = jnp.concatenate([carry.code[:, None], codes[:, :-1]], axis=1)
  part = program.forward.begin(carry.cache, start, C)
  logits, local = program.forward(before, start + jnp.arange(C), part)
  cache = caches.merge(carry.cache, local, start)
  wanted = logits()[: len(codes)] if program.with_logits else None
  return carry._replace(code=codes[:, -1], cache=cache), (codes, wanted)


def _drawn_chunk(program: Program, C: int, carry: Carry, start: jax.Array):
  """Draws C codes: (carry, (codes, logits))."""
  B, part = len(program.keys), program.forward.begin(carry.cache, start, C)

  def draw_code(carry, position):
    code, log_likelihood, local = carry
    logits, local = program.forward(code[:, None], position[None], part._replace(local=local))
    logits = logits()
    drawn, log_p = program.draw(logits, jnp.broadcast_to(position, (B, 1)))
    outputs = drawn[:, 0], logits[:B, 0] if program.with_logits else None
    return (drawn[:, 0], log_likelihood + log_p[:, 0], local), outputs

  (code, log_likelihood, local), outputs = jax.lax.scan(
    draw_code,
    (carry.code, carry.log_likelihood, part.local),
    start + jnp.arange(C),
  )
  outputs = jax.tree.map(lambda a: rearrange(a, 'C B ... -> B C ...'), outputs)
  return Carry(code, log_likelihood, caches.merge(carry.cache, local, start)), outputs
