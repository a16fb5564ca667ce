# ruff: noqa: E741, for l of FlashAttention
"""Attention on GPUs without cuDNN's limits: a Pallas kernel for any mask, head size and dropout.

Each program of the grid computes one tile of queries (or, for the gradients of keys and values, of
keys) and loops over the tiles that the mask admits, which a table lists. As in FlashAttention, m is
the running maximum of a query's scores, l the sum of their exponentials, lse = m + log(l), and
delta = rowsum(dO * O).

Axis letters: B batch; L queries; S keys; N heads; M = B*N; d head size; T positions of a tile;
i, j indices of a tile of queries and of keys.
Source: Dao 2023 (arXiv 2307.08691), sections 3.1 and 3.2.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from videogpt_jax.models.attention.cudnn import gpu_capability
from videogpt_jax.models.attention.dropout import Dropout, keep
from videogpt_jax.models.attention.gradient import EXCLUDED, with_gradient
from videogpt_jax.models.attention.masks import CausalMask

_SMALLEST = 16
"""Side of the smallest matrix product in hardware."""


def triton_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None = None,
  dropout: Dropout | None = None,
  interpret: bool = False,
) -> jax.Array:
  """See `attention`.

  Args:
    interpret: whether to run without a GPU, slowly, for tests.
  """
  B, L, N, _ = q.shape
  S, d_v = v.shape[1], v.shape[-1]
  T = _tile(mask, max(q.shape[-1], d_v) * q.dtype.itemsize)
  tiles = _admitted(mask, -(-L // T), -(-S // T), T)
  rate = None if dropout is None else dropout.rate
  in_tensorfloat = not interpret and not gpu_capability().startswith('gfx')
  kernel = _Kernel(
    _table(tiles), _table(tiles.T), T, mask is not None, S, rate, interpret, in_tensorfloat
  )
  seeds = jnp.zeros((B, N), jnp.uint32) if dropout is None else dropout.seeds
  q = q * q.shape[-1] ** -0.5
  q, k, v = (_tiled(x, T) for x in (q, k, v))
  out = with_gradient(kernel)(q, k, v, seeds.reshape(-1, 1))
  return rearrange(out, '(B N) L d -> B L N d', B=B)[:, :L, :, :d_v]


def why_not(mask: CausalMask | None) -> str | None:
  """Returns why this kernel cannot compute a mask, or None if it can."""
  if mask is None or mask.layout is None or (_power_of_two(mask.block) and mask.block >= _SMALLEST):
    return None
  return f'attn_block {mask.block}; use a power of two, {_SMALLEST} or more'


def _power_of_two(n: int) -> bool:
  return n & (n - 1) == 0


def _tile(mask: CausalMask | None, row_bytes: int) -> int:
  """Returns the tile size: two tiles of inputs and a sum must fit into shared memory."""
  largest = 64 if row_bytes <= 256 else 32
  return largest if mask is None or mask.layout is None else min(mask.block, largest)


def _admitted(mask: CausalMask | None, n_queries: int, n_keys: int, T: int) -> np.ndarray:
  """Returns bool [n_queries n_keys]: whether a tile of queries attends to a tile of keys."""
  if mask is None:
    return np.ones((n_queries, n_keys), bool)
  tiles = np.ones((n_queries, n_keys), bool)
  if mask.layout is not None:
    tiles = np.kron(mask.layout, np.ones((mask.block // T,) * 2, bool))
  return np.tril(tiles)


def _table(tiles: np.ndarray) -> np.ndarray:
  """Returns int32 [n 1+most]: the number of tiles that each row attends to, and their indices."""
  counts = tiles.sum(axis=1)
  # A stable sort puts admitted tiles first, in order.
  order = np.argsort(~tiles, axis=1, kind='stable')[:, : max(counts.max(), 1)]
  return np.concatenate([counts[:, None], order], axis=1).astype(np.int32)


def _tiled(x: jax.Array, T: int) -> jax.Array:
  """[B L N d] -> [M L' d'], padded by zeros to whole tiles and a power of two of channels."""
  d = max(pl.next_power_of_2(x.shape[-1]), _SMALLEST)
  x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % T), (0, 0), (0, d - x.shape[-1])])
  return rearrange(x, 'B L N d -> (B N) L d')


class _Kernel(NamedTuple):
  rows: np.ndarray
  columns: np.ndarray
  T: int
  causal: bool
  n_keys: int
  rate: float | None
  interpret: bool
  in_tensorfloat: bool

  def forward(self, q, k, v, seeds):
    """Returns the output [M L d] and the log-sum-exp of each query's scores [M L]."""
    out = jax.ShapeDtypeStruct((*q.shape[:2], v.shape[2]), v.dtype)
    lse = jax.ShapeDtypeStruct(q.shape[:2], jnp.float32)
    ins = self._by_row((q,)) + _whole((k, v))
    return self._call(_forward, self.rows, ins, (q, k, v), seeds, (out, lse))

  def backward(self, q, k, v, seeds, out, lse, d_out):
    """Returns the gradients of q, k and v."""
    delta = jnp.sum(d_out.astype(jnp.float32) * out, axis=-1)
    arrays = (q, d_out, lse, delta, k, v)
    of_queries, of_keys = arrays[:4], arrays[4:]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (q, k, v)]
    ins = self._by_row(of_queries) + _whole(of_keys)
    (d_q,) = self._call(_backward_queries, self.rows, ins, arrays, seeds, shapes[:1])
    ins = _whole(of_queries) + self._by_row(of_keys)
    d_k, d_v = self._call(_backward_keys, self.columns, ins, arrays, seeds, shapes[1:])
    return d_q, d_k, d_v

  def scores(self, q, k, seed, i, j):
    """Returns the scores of a tile [T T], and the factors of dropout for its weights, or None."""
    i = i * self.T + jnp.arange(self.T)[:, None]
    j = j * self.T + jnp.arange(self.T)[None]
    admitted = j <= i if self.causal else j < self.n_keys
    scale = None
    if self.rate:
      scale = jnp.where(keep(self.rate, seed, i, j), 1 / (1 - self.rate), 0.0)
    return jnp.where(admitted, self.dot(q, k.T), EXCLUDED), scale

  def dot(self, a, b):
    """Multiplies, accumulating in float32; float32 operands keep their precision.

    NVIDIA's matrix units multiply these in three products of TensorFloat-32. The exact products of
    other units take Triton minutes to compile.
    """
    precision = 'highest'
    if a.dtype == jnp.float32 and self.in_tensorfloat:
      precision = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return jnp.dot(a, b, preferred_element_type=jnp.float32, precision=precision)

  def _by_row(self, arrays):
    """Returns specs that give each program its own tile of each array."""
    return [
      pl.BlockSpec((None, self.T, *x.shape[2:]), lambda r, m, n=x.ndim: (m, r, 0)[:n])
      for x in arrays
    ]

  def _call(self, body, table, in_specs, arrays, seeds, outputs):
    own = pl.BlockSpec((None, table.shape[1]), lambda r, m: (r, 0))
    seed = pl.BlockSpec((None, 1), lambda r, m: (m, 0))
    call = pl.pallas_call(
      functools.partial(body, self),
      grid=(len(table), len(seeds)),
      in_specs=[own, seed, *in_specs],
      out_specs=self._by_row(outputs),
      out_shape=list(outputs),
      compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=1),
      interpret=self.interpret,
    )
    return call(jnp.asarray(table), seeds, *arrays)


def _whole(arrays):
  """Returns specs that give each program all tiles of its clip and head."""
  return [pl.BlockSpec((None, *x.shape[1:]), lambda r, m, n=x.ndim: (m, 0, 0)[:n]) for x in arrays]


def _forward(kernel, table, seed, q, k, v, out, lse):
  i, T, own = pl.program_id(0), kernel.T, q[...]

  def step(n, carry):
    acc, m, l = carry
    j = table[n + 1]
    tile = pl.ds(j * T, T)
    scores, scale = kernel.scores(own, k[tile, :], seed[0], i, j)
    new_m = jnp.maximum(m, scores.max(axis=1))
    weights = jnp.exp(scores - new_m[:, None])
    shrink = jnp.exp(m - new_m)
    l = l * shrink + weights.sum(axis=1)
    kept = weights if scale is None else weights * scale
    acc = acc * shrink[:, None] + kernel.dot(kept.astype(v.dtype), v[tile, :])
    return acc, new_m, l

  start = jnp.zeros(out.shape), jnp.full(T, EXCLUDED), jnp.zeros(T)
  acc, m, l = jax.lax.fori_loop(0, table[0], step, start)
  out[...] = (acc / l[:, None]).astype(out.dtype)
  lse[...] = m + jnp.log(l)


def _weights_and_gradient(kernel, seed, i, j, queries, keys):
  """Returns the weights of a tile after dropout and the gradient of its scores, both [T T]."""
  q, d_out, lse, delta = queries
  k, v = keys
  scores, scale = kernel.scores(q, k, seed, i, j)
  weights, d_weights = jnp.exp(scores - lse[:, None]), kernel.dot(d_out, v.T)
  kept = weights if scale is None else weights * scale
  d_weights = d_weights if scale is None else d_weights * scale
  return kept, weights * (d_weights - delta[:, None])


def _backward_queries(kernel, table, seed, q, d_out, lse, delta, k, v, d_q):
  i, T = pl.program_id(0), kernel.T
  queries = q[...], d_out[...], lse[...], delta[...]

  def step(n, d_q):
    j = table[n + 1]
    keys = k[pl.ds(j * T, T), :], v[pl.ds(j * T, T), :]
    _, d_scores = _weights_and_gradient(kernel, seed[0], i, j, queries, keys)
    return d_q + kernel.dot(d_scores.astype(k.dtype), keys[0])

  d_q[...] = jax.lax.fori_loop(0, table[0], step, jnp.zeros(q.shape)).astype(d_q.dtype)


def _backward_keys(kernel, table, seed, q, d_out, lse, delta, k, v, d_k, d_v):
  j, T = pl.program_id(0), kernel.T
  keys = k[...], v[...]

  def step(n, sums):
    i = table[n + 1]
    tile = pl.ds(i * T, T)
    queries = q[tile, :], d_out[tile, :], lse[tile], delta[tile]
    kept, d_scores = _weights_and_gradient(kernel, seed[0], i, j, queries, keys)
    d_k = sums[0] + kernel.dot(d_scores.astype(q.dtype).T, queries[0])
    return d_k, sums[1] + kernel.dot(kept.astype(q.dtype).T, queries[1])

  start = jnp.zeros(k.shape), jnp.zeros(v.shape)
  sums = jax.lax.fori_loop(0, table[0], step, start)
  d_k[...], d_v[...] = (x.astype(ref.dtype) for x, ref in zip(sums, (d_k, d_v), strict=True))
