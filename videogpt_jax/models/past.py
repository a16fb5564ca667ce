"""A causal network takes a video in pieces: what its layers keep of the frames before.

past = Past(None)                          # the first piece
codes = vqvae.encode(piece, past)
past = Past(past.kept)                     # the next one
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


class Past:
  """What the layers of a network have kept of the earlier pieces of a video.

  Each layer that sees frames before its own asks for them, in the order in which layers run. With
  a fixed number of them for each layer, what is kept does not grow with the video.

  Attributes:
    first: whether no piece came before.
    kept: after the network has run, what it keeps for the next piece: an array for each request.
  """

  def __init__(self, kept: Sequence[jax.Array] | None):
    self.first, self.kept = kept is None, []
    self._earlier = iter(kept or ())

  def before(self, x: jax.Array, n: int, axis: int = 1) -> jax.Array:
    """Returns x with the n frames before it in front, and keeps its last n for the next piece.

    Args:
      x: any array with time along `axis`.
      n: number of frames; before the first frame of a video there are zeros.
      axis: of time.
    """
    if not n:
      return x
    shape = list(x.shape)
    shape[axis] = n
    earlier = jnp.zeros(shape, x.dtype) if self.first else next(self._earlier)
    x = jnp.concatenate([earlier, x], axis)
    self.kept.append(jax.lax.slice_in_dim(x, x.shape[axis] - n, None, axis=axis))
    return x
