"""Linear layers, position tables and dropout.

Axis letters: B batch; L positions; D channels; I, O input and output channels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.placement import on_one_cpu

DTYPES = ('float32', 'bfloat16')
"""Types of activations and products; parameters are always float32."""


def product_of_rows(x: jax.Array, kernel: jax.Array, dtype: jnp.dtype | None = None) -> jax.Array:
  """Returns x [... I] @ kernel [I O]; on a CPU all positions are the rows of one matrix.

  Sums are rounded to `dtype` alone, by default x's. The kernel's gradient then sums over a single
  axis. To sum over several, XLA's CPU compiler first transposes x, which takes as long as the
  product.
  """
  if not on_one_cpu():
    return jnp.matmul(x, kernel, preferred_element_type=dtype)
  rows = x.reshape(-1, x.shape[-1])
  return jnp.matmul(rows, kernel, preferred_element_type=dtype).reshape(*x.shape[:-1], -1)


class Linear(nnx.Module):
  """`x @ kernel + bias`; the initial kernel [n_in n_out] is normal with `stddev`.

  Products are of x's dtype, and so is the result, unless a call asks for another.
  """

  def __init__(
    self, n_in: int, n_out: int, *, stddev: float, use_bias: bool = True, rngs: nnx.Rngs
  ):
    self.kernel = nnx.Param(stddev * jax.random.normal(rngs.params(), (n_in, n_out)))
    if use_bias:
      self.bias = nnx.Param(jnp.zeros(n_out))
    self.use_bias = use_bias

  def __call__(self, x: jax.Array, dtype: jnp.dtype | None = None) -> jax.Array:
    y = product_of_rows(x, self.kernel[...].astype(x.dtype), dtype)
    return y + self.bias[...].astype(y.dtype) if self.use_bias else y


class PositionEmbedding(nnx.Module):
  """One learnt table for each axis of a grid, concatenated over channels.

  The published codes require that the number of axes divides the channels: three in VideoGPT, four
  in VideoGPT-Paper, which the paper's 512 and 1024 fit. Here the first axes get what remains.

  Args:
    grid: sizes of the axes.
    n_channels: total over all axes.
  """

  def __init__(self, grid: Sequence[int], n_channels: int, *, rngs: nnx.Rngs):
    share, rest = divmod(n_channels, len(grid))
    self.tables = nnx.List(
      [
        nnx.Param(0.01 * jax.random.normal(rngs.params(), (size, share + (axis < rest))))
        for axis, size in enumerate(grid)
      ]
    )

  def __call__(self) -> jax.Array:
    """Returns float32 [*grid n_channels]."""
    grid = tuple(table.shape[0] for table in self.tables)
    columns = [
      jnp.broadcast_to(
        table[...].reshape(*(n if a == axis else 1 for a, n in enumerate(grid)), -1),
        (*grid, table.shape[1]),
      )
      for axis, table in enumerate(self.tables)
    ]
    return jnp.concatenate(columns, axis=-1)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
  """Zeroes entries with probability `rate` and scales the others by 1 / (1 - rate).

  Args:
    x: [B L D].
    rate: probability that an entry is dropped.
    key: of this layer and step; None returns x.
  """
  if key is None or rate == 0:
    return x
  # The hash of attention's dropout: JAX's random bits would take as long as a product of the block.
  dropped = Dropout(rate, jax.random.bits(key, x.shape[:1], jnp.uint32))
  keep = dropped.keep(jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[2]))
  return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))
