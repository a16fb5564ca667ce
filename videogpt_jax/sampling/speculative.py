"""Speculative decoding: several codes a pass, and the codes that sequential decoding draws.

With its key fixed, each code is a function of the codes before it. So a pass takes a window of W
guesses through the prior at once and draws from all of its logits. A draw counts as long as every
guess before it was right: at least one does. The other draws are the next guesses. Keys and values
that come from wrong guesses are overwritten by the next pass.

Source: Jacobi decoding with coupled noise (arXiv 2510.24211); with fixed noise it is exact path by
path.

Axis letters: B clips; R rows that the prior computes, B or with guidance 2 B; L codes of a clip;
K logits; C chunk length; W window; S places of the long cache.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.sampling import cache as caches
from videogpt_jax.sampling.forward import Decoded, Lookup
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.sequential import (
  Program,
  chunk_lengths,
  make_program,
  prefill,
)

WINDOW = 16
"""Codes guessed at once, at most."""

CHUNK = 64
"""Codes drawn between two merges into the long cache, at most."""


class State(NamedTuple):
  """What passes from one pass to the next.

  Attributes:
    settled: int32 [B], how many codes of each clip are drawn or given.
    seen: int32 [B], how many of its positions hold a draw, right or wrong.
    codes: int32 [B L], up to `settled` the result, up to `seen` the draws of the last pass.
    log_likelihood: float32 [B], nats, of the codes drawn so far.
    passes: int32 [B], that found the clip unfinished.
    logits: float32 [B L K], if asked for.
  """

  settled: jax.Array
  seen: jax.Array
  codes: jax.Array
  log_likelihood: jax.Array
  passes: jax.Array
  logits: jax.Array | None


class Sizes(NamedTuple):
  """Window W, chunk C and length L."""

  window: int
  chunk: int
  length: int


def decode(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  given: jax.Array | None = None,
  with_logits: bool = False,
) -> Decoded:
  """Draws the codes of B clips, several a pass; for the arguments see `sequential.decode`."""
  program = make_program(prior, lookup, condition, keys, controls, given, with_logits)
  carry, prefilled = prefill(program)
  B, L = len(keys), program.length
  chunk = chunk_lengths(L, prior.mask)[1] if program.sparse else min(CHUNK, L)
  sizes = Sizes(min(WINDOW, chunk), chunk, L)
  logits = None
  if with_logits:
    rest = jnp.zeros((B, L - program.n_prefilled, prior.factors.n_logits))
    logits = jnp.concatenate([*(logits for _, logits in prefilled), rest], axis=1)
  at = jnp.full(B, program.n_prefilled)
  state = State(
    at, jnp.full(B, program.n_given), program.given, carry.log_likelihood, 0 * at, logits
  )
  cache = carry.cache
  ends = [end for _, end in program.segments(program.n_prefilled, L, chunk)]
  for end in (*ends[:-1], L):
    cache = program.grow(cache, end)
    rounds = functools.partial(_round, program, sizes)
    fits = lambda loop, end=end: _fits(loop[0], sizes, end)
    state, cache = jax.lax.while_loop(fits, rounds, (state, cache))
  shape = (B, *prior.codes.latent_shape)
  logits = state.logits.reshape(*shape, -1) if with_logits else None
  return Decoded(state.codes.reshape(shape), state.log_likelihood, logits, state.passes)


def _fits(state: State, sizes: Sizes, end: int) -> jax.Array:
  """Whether a clip is unfinished, and the next chunk of every clip ends at `end` or before."""
  if end == sizes.length:
    return jnp.any(state.settled < end)
  return jnp.max(state.settled) + sizes.chunk <= end


def _round(program: Program, sizes: Sizes, loop: tuple[State, caches.Cache]):
  """Runs passes until a clip has come to the end of its chunk; then merges the chunks."""
  state, cache = loop
  W, C, L = sizes
  if program.sparse:  # a chunk lies in one block
    starts = jnp.minimum(state.settled // C * C, L - C)
    ends = starts + C
  else:
    starts = jnp.minimum(state.settled, L - C)
    ends = jnp.where(starts < L - C, starts + C - W + 1, L)  # beyond, the window would be cut
  rows = jnp.tile(starts, program.n_rows // len(starts))
  part = program.forward.begin(cache, rows, C)
  part = part._replace(local=caches.local_part(cache, rows, C))

  def goes_on(inner):
    settled = inner[0].settled
    return jnp.all((settled < ends) | (settled == L)) & jnp.any(settled < L)

  def step(inner):
    state, local = inner
    return one_pass(program, sizes, starts, state, part._replace(local=local))

  state, local = jax.lax.while_loop(goes_on, step, (state, part.local))
  return state, caches.merge(cache, local, rows)


def one_pass(program: Program, sizes: Sizes, starts: jax.Array, state: State, part):
  """Takes a window of guesses through the prior: (state, local cache)."""
  W, C, L = sizes
  first = jnp.minimum(state.settled, starts + C - W)
  positions = first[:, None] + jnp.arange(W)
  take = functools.partial(jnp.take_along_axis, axis=1)
  earlier = jnp.asarray(_earlier(program.forward.latent_shape))[positions]
  new = positions >= state.seen[:, None]
  guesses = take(state.codes, jnp.where(new, earlier, positions))
  before = take(state.codes, jnp.maximum(first - 1, 0)[:, None])
  before = jnp.concatenate([before, guesses[:, :-1]], axis=1)
  logits, local = program.forward(before, positions, part)
  logits = logits()
  draws, log_p = program.draw(logits, positions)
  kept = positions < state.settled[:, None]
  draws = jnp.where(kept, guesses, draws)
  right = jnp.cumprod(guesses == draws, axis=1).sum(axis=1)
  settled = first + jnp.minimum(right + 1, W)
  newly = ~kept & (positions < settled[:, None])
  put = jax.vmap(functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=0))
  return State(
    settled=settled,
    seen=jnp.maximum(state.seen, first + W),
    codes=put(state.codes, draws, first),
    log_likelihood=state.log_likelihood + jnp.where(newly, log_p, 0).sum(axis=1),
    passes=state.passes + (state.settled < L),
    logits=None if state.logits is None else put(state.logits, logits[: len(draws)], first),
  ), local


def _earlier(latent_shape: tuple[int, ...]) -> np.ndarray:
  """Returns for each position the one whose code is its first guess, int32 [L].

  This is the same place one latent frame before; in the first latent frame, one row above; in the
  first row, one place before.
  """
  positions = np.arange(math.prod(latent_shape), dtype=np.int32)
  back = np.ones_like(positions)
  for axis in (3, 2, 1):  # offsets of a place, a row and a frame, the greatest that there is
    offset = math.prod(latent_shape[axis:])
    back = np.where(positions >= offset, offset, back)
  return np.maximum(positions - back, 0)
