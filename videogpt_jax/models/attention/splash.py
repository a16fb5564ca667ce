"""Attention on TPUs: the Pallas kernel "splash", which skips tiles that a mask excludes.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.experimental.pallas.ops.tpu import splash_attention as splash

from videogpt_jax.models.attention.gradient import RESIDUALS
from videogpt_jax.models.attention.masks import CausalMask

TILE = 512
"""Largest number of queries and of keys in a tile; tile sizes are multiples of LANES."""

LANES = 128
"""Lanes of a TPU's vector unit; also the tile of a sparse mask, as the smallest tiles skip most."""


def splash_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None = None,
  interpret: bool = False,
) -> jax.Array:
  """See `attention`.

  Args:
    interpret: whether to run without a TPU, slowly, for tests.
  """
  L, S = q.shape[1], k.shape[1]
  tiles = [_tile(n, mask) for n in (L, S)]
  padded = tuple(n + -n % tile for n, tile in zip((L, S), tiles, strict=True))
  kernel = splash.make_splash_mha(
    splash.MultiHeadMask([_tile_mask(mask, padded, S)] * q.shape[2]),
    block_sizes=_block_sizes(*tiles),
    head_shards=1,
    q_seq_shards=1,
    residual_checkpoint_name=RESIDUALS,
    interpret=interpret,
  )

  def heads_first(x, length):
    x = jnp.pad(x, [(0, 0), (0, length - x.shape[1]), (0, 0), (0, 0)])
    return rearrange(x, 'B L N d -> B N L d')

  # The kernel does not scale the scores.
  q = heads_first(q * q.shape[-1] ** -0.5, padded[0])
  out = jax.vmap(kernel)(q, heads_first(k, padded[1]), heads_first(v, padded[1]))
  return rearrange(out, 'B N L d -> B L N d')[:, :L]


def _tile(length: int, mask: CausalMask | None) -> int:
  """Returns a multiple of LANES that needs little padding."""
  most = LANES if mask is not None and mask.layout is not None else TILE
  n_tiles = -(-length // most)
  return -(-length // n_tiles // LANES) * LANES


def _block_sizes(q: int, kv: int) -> splash.BlockSizes:
  return splash.BlockSizes(
    block_q=q,
    block_kv=kv,
    block_kv_compute=kv,
    block_q_dkv=q,
    block_kv_dkv=kv,
    block_kv_dkv_compute=kv,
    block_q_dq=q,
    block_kv_dq=kv,
  )


def _tile_mask(mask: CausalMask | None, shape: tuple[int, int], n_keys: int) -> splash.Mask:
  """Returns the mask of the padded scores; padding attends to keys but is never attended to."""
  if mask is None:
    return splash.FullMask(shape) if shape[1] == n_keys else _Computed(shape, None, n_keys)
  if mask.layout is None:
    return splash.CausalMask(shape)
  return _Computed(shape, mask, n_keys)


class _Computed(splash.Mask):
  """A mask that is computed tile by tile while the kernel is built, never as a whole."""

  def __init__(self, shape: tuple[int, int], mask: CausalMask | None, n_keys: int):
    self._shape, self._mask, self._n_keys = shape, mask, n_keys

  @property
  def shape(self) -> tuple[int, int]:
    return self._shape

  def __getitem__(self, index) -> np.ndarray:
    i, j = (np.arange(n)[part] for part, n in zip(index, self._shape, strict=True))
    if self._mask is None:
      return np.broadcast_to(j < self._n_keys, (len(i), len(j)))
    layout, block = self._mask.layout, self._mask.block
    last = len(layout) - 1  # padding belongs to the last block
    blocks = np.minimum(i // block, last)[:, None], np.minimum(j // block, last)
    return layout[blocks] & (j <= i[:, None])
