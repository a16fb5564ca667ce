"""A stream of latent frames without an end: the window of attention slides over a KV cache.

The prior has rotary positions and attends to a window of latent frames, so that a frame depends on
those in the window and on how far back they are, not on its index. The cache is a ring with the
keys and values of the frames in the window, already rotated. A new frame replaces the oldest.

Within a frame, codes are drawn as in `speculative`, with the frame before as first guesses; a
window of one code is sequential decoding.

Axis letters: B streams; R rows that the prior computes, B or with guidance 2 B; Q codes of a latent
frame; S entries of the ring; N heads; d head size; D hidden_dim; P pairs of rotary channels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from videogpt_jax.models.attention import CausalMask
from videogpt_jax.models.conditioners import Condition
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.rotary import rotary_angles, rotate
from videogpt_jax.sampling import cache as caches
from videogpt_jax.sampling.forward import Forward, Lookup, Part, with_and_without
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.sequential import Program
from videogpt_jax.sampling.speculative import WINDOW, Sizes, State, one_pass

WINDOWS = {'sequential': 1, 'speculative': WINDOW}
"""Codes that a pass takes, by the name of the strategy."""


class Stream(NamedTuple):
  """What is known of the latent frames so far.

  Attributes:
    n_frames: int32 scalar, latent frames so far.
    codes: int32 [B Q], of the latest one.
    cache: the ring, keys and values [R N d S] for each block.
  """

  n_frames: jax.Array
  codes: jax.Array
  cache: caches.Cache


class Drawn(NamedTuple):
  """A latent frame.

  Attributes:
    codes: int32 [B 1 h w], or [B 1 h w n_codebooks].
    log_likelihood: float32 [B], nats, at temperature 1 without guidance.
    passes: int32 [B], through the prior.
  """

  codes: jax.Array
  log_likelihood: jax.Array
  passes: jax.Array


def begin(prior: Prior, n: int, guidance: bool = False) -> Stream:
  """Returns n streams without a frame.

  Args:
    prior: with rotary positions, and attention to a window.
    n: B.
    guidance: whether frames are drawn with guidance, which doubles the rows.
  """
  Q = prior.mask.block
  ring = max(prior.config.attn_window - 1, 1) * Q
  cache = caches.empty(prior.config, 2 * n if guidance else n, ring)
  return Stream(jnp.zeros((), jnp.int32), jnp.zeros((n, Q), jnp.int32), cache)


def draw(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  keys: jax.Array,
  controls: Controls,
  angles: jax.Array,
  stream: Stream,
  strategy: str = 'sequential',
) -> tuple[Drawn, Stream]:
  """Draws the next latent frame.

  Args:
    prior: the model.
    lookup: the quantizer's codes to vectors.
    condition: of this latent frame.
    keys: PRNG keys [B], one a stream, for this latent frame.
    controls: turns logits into a code.
    angles: float32 [1 P], of `frame_angles`, for this latent frame.
    stream: the frames before.
    strategy: of `WINDOWS`.
  Returns:
    the frame, and the stream with it.
  """
  B, Q = stream.codes.shape
  forward = _FrameForward(prior, lookup, condition, stream, angles)
  n_rows = forward.n_rows
  program = Program(forward, controls, keys, stream.codes, 0, 0, n_rows, with_logits=False)
  part = forward.begin(stream.cache, jnp.zeros(n_rows, jnp.int32), Q)
  none = jnp.zeros(B, jnp.int32)
  seen = jnp.where(stream.n_frames > 0, Q, none)  # the frame before has the first guesses
  state = State(none, seen, stream.codes, jnp.zeros(B), none, None)
  sizes = Sizes(min(WINDOWS[strategy], Q), Q, Q)

  def step(inner):
    state, local = inner
    return one_pass(program, sizes, none, state, part._replace(local=local))

  unfinished = lambda inner: jnp.any(inner[0].settled < Q)
  state, local = jax.lax.while_loop(unfinished, step, (state, part.local))
  codes = state.codes.reshape(B, *forward.latent_shape)
  return Drawn(codes, state.log_likelihood, state.passes), _extended(stream, state.codes, local)


def feed(
  prior: Prior,
  lookup: Lookup,
  condition: Condition,
  angles: jax.Array,
  stream: Stream,
  codes: jax.Array,
) -> Stream:
  """Returns the stream with a given latent frame, int32 [B 1 h w]; see `draw`."""
  codes = codes.reshape(len(codes), -1)
  forward = _FrameForward(prior, lookup, condition, stream, angles)
  Q = codes.shape[1]
  part = forward.begin(stream.cache, jnp.zeros(forward.n_rows, jnp.int32), Q)
  before = jnp.pad(codes[:, :-1], [(0, 0), (1, 0)])
  _, local = forward(before, jnp.arange(Q), part)
  return _extended(stream, codes, local)


def _extended(stream: Stream, codes: jax.Array, local: caches.Local) -> Stream:
  """Returns the stream with one more latent frame, in the place of the oldest."""
  Q, S = codes.shape[1], stream.cache[0][0].shape[3]
  slot = stream.n_frames % (S // Q)
  return Stream(stream.n_frames + 1, codes, caches.merge(stream.cache, local, slot * Q))


class _FrameForward(Forward):
  """The prior at the positions 0 to Q - 1 of one latent frame, with the ring before them.

  Attributes:
    n_rows: R. With guidance, the second half of the rows has no condition.
  """

  def __init__(self, prior, lookup, condition, stream: Stream, angles: jax.Array):
    self.n_rows = stream.cache[0][0].shape[0]
    if self.n_rows > len(stream.codes):
      condition = with_and_without(condition)
    super().__init__(prior, lookup, condition)
    self.mask, self.latent_shape = CausalMask(), (1, *self.latent_shape[1:])
    Q = stream.codes.shape[1]
    self.positions = self.positions[:Q]  # zeros: positions are rotary
    self._n_frames, self._ring = stream.n_frames, prior.config.attn_window - 1
    within = rotary_angles(self.latent_shape, prior.config.head_size)
    self._angles = jnp.asarray(within) + angles
    self.rotate = self._rotate
    last = self._embed(stream.codes[:, -1:], jnp.full(1, Q))
    last = jnp.tile(last, (self.n_rows // len(last), 1, 1))
    self.before_first = jnp.where(self._n_frames > 0, last, prior.sos[...])

  def begin(self, cache: caches.Cache, start: jax.Array, chunk: int) -> Part:
    """Returns the ring as the frame sees it: its places that hold a frame of the window."""
    part = super().begin(cache, start, chunk)
    S = cache[0][0].shape[3]
    full = jnp.arange(S) // chunk < jnp.minimum(self._n_frames, self._ring)
    positions = jnp.where(full, -1, S + chunk)  # before the frame; after it, so that none counts
    return part._replace(view=caches.View(cache, positions))

  def _rotate(self, q, k, positions):
    angles = self._angles[positions]
    return rotate(q, angles), rotate(k, angles)
