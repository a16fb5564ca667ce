"""Axial attention of the VQ-VAE: each position attends along the axes of a grid.

Axis letters: B batch; t h w latent grid; C channels; N heads; d head size; i, j positions of
queries and keys on a line along an axis.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.attention.masks import CausalMask
from videogpt_jax.models.layers import Linear, product_of_rows
from videogpt_jax.models.past import Past
from videogpt_jax.models.placement import constrain, on_one_cpu

TIME_MASKS: dict[str, CausalMask | None] = {'none': None, 'causal': CausalMask()}
"""Masks of attention along time by name, the values of `vqvae.time_mask`."""


class AxisAttention(nnx.Module):
  """Multi-head attention along one axis of a grid (1 time, 2 height, 3 width).

  The axis is moved to the end and back once; width needs no move. Heads are split in the kernels,
  not in the activations: neither the products nor their gradients then transpose an operand.

  Args:
    mask: which positions of a line may attend to which; None admits all.
    window: positions that a causal mask reaches back to, the own one included; 0 reaches all.
  """

  def __init__(
    self,
    n_channels: int,
    n_heads: int,
    axis: int,
    mask: CausalMask | None = None,
    window: int = 0,
    *,
    rngs: nnx.Rngs,
  ):
    def linear(use_bias=False):
      return Linear(n_channels, n_channels, stddev=n_channels**-0.5, use_bias=use_bias, rngs=rngs)

    self.axis, self.n_heads, self.mask, self.window = axis, n_heads, mask, window
    self.query, self.key, self.value, self.out = linear(), linear(), linear(), linear(True)

  def __call__(self, x: jax.Array, past: Past | None = None) -> jax.Array:
    """[B t h w C] -> [B t h w C], of a video or of the next piece of one; see `Past`."""
    x = jnp.moveaxis(x, self.axis, 3)
    # A TPU compiler moves a fifth more data if axes are merged (docs/attention.md).
    lines = x.reshape(-1, *x.shape[3:]) if on_one_cpu() else x
    y = self.out.bias[...].astype(x.dtype)
    n = x.shape[3]
    earlier = self.window - 1 if past is not None else 0
    admitted = self._admitted(n, n + earlier)
    if earlier:
      admitted &= past.before(jnp.ones(n, bool), earlier, axis=0)
    for query, key, value, out in zip(*self._kernels_of_heads(x.dtype), strict=True):
      q, k, v = (product_of_rows(lines, kernel) for kernel in (query, key, value))
      if earlier:
        k, v = (past.before(part, earlier, axis=k.ndim - 2) for part in (k, v))
      y = y + product_of_rows(_attend(q, k, v, admitted), out)
    return jnp.moveaxis(y.reshape(x.shape), 3, self.axis)

  def _admitted(self, n_queries: int, n_keys: int) -> jax.Array | None:
    """Returns which keys count for which query, bool [i j]; queries are the last positions."""
    if self.mask is None:
      return None
    keys = jnp.arange(n_keys)
    queries = keys[n_keys - n_queries :]
    admitted = self.mask.rows(queries, keys)
    return admitted & (keys > queries[:, None] - self.window) if self.window else admitted

  def _kernels_of_heads(self, dtype: jnp.dtype) -> Iterator[list[jax.Array]]:
    """Yields N kernels each of queries, keys and values, [C d], then of the output, [d C]."""
    for part, axis in ((self.query, 1), (self.key, 1), (self.value, 1), (self.out, 0)):
      whole = constrain(part.kernel[...].astype(dtype), 'i o')  # before it is split
      yield jnp.split(whole, self.n_heads, axis)


def _attend(q: jax.Array, k: jax.Array, v: jax.Array, admitted: jax.Array | None) -> jax.Array:
  """Returns the attention of one head along each line, [... i d]; softmax in float32."""
  scores = jnp.einsum('...id,...jd->...ij', q, k, preferred_element_type=jnp.float32)
  scores *= q.shape[-1] ** -0.5
  if admitted is not None:
    scores = jnp.where(admitted, scores, -jnp.inf)
  weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
  return jnp.einsum('...ij,...jd->...id', weights, v)


class AxialAttention(nnx.Module):
  """The sum of attention along width, height and time, each with its own projections.

  Args:
    time_mask: a key of `TIME_MASKS`.
    time_window: latent frames that a causal mask reaches back to; 0 reaches all.
  """

  def __init__(
    self,
    n_channels: int,
    n_heads: int,
    time_mask: str = 'none',
    time_window: int = 0,
    *,
    rngs: nnx.Rngs,
  ):
    self.attn_w = AxisAttention(n_channels, n_heads, 3, rngs=rngs)
    self.attn_h = AxisAttention(n_channels, n_heads, 2, rngs=rngs)
    self.attn_t = AxisAttention(
      n_channels, n_heads, 1, TIME_MASKS[time_mask], time_window, rngs=rngs
    )

  def __call__(self, x: jax.Array, past: Past | None = None) -> jax.Array:
    """[B t h w C] -> [B t h w C]."""
    return self.attn_w(x) + self.attn_h(x) + self.attn_t(x, past)
