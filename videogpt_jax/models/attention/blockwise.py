# ruff: noqa: E741, for l of FlashAttention
"""Attention block by block in plain JAX: runs on every platform, never holds all scores.

The softmax is accumulated over blocks of keys, as in FlashAttention: m is the running maximum of a
query's scores, l the sum of their exponentials, lse = m + log(l), and delta = rowsum(dO * O). The
backward pass recomputes weights from lse. Both passes visit only the blocks of a `Schedule`.

Axis letters: B batch; L queries; S keys; N heads; d head size; C blocks of queries in a chunk;
G blocks of keys in a group; i, j positions of queries and keys of one step.
Source: Dao et al. 2022 (arXiv 2205.14135), algorithms 1 and 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from videogpt_jax.models.attention.dropout import Dropout
from videogpt_jax.models.attention.gradient import EXCLUDED, with_gradient
from videogpt_jax.models.attention.masks import CausalMask
from videogpt_jax.models.attention.schedule import Schedule, make_schedule


def blockwise_attention(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  mask: CausalMask | None = None,
  dropout: Dropout | None = None,
) -> jax.Array:
  """See `attention`."""
  L, S = q.shape[1], k.shape[1]
  kernel = _Kernel(make_schedule(L, S, mask), mask is not None, S, dropout and dropout.rate)
  seeds = jnp.zeros((), jnp.uint32) if dropout is None else dropout.seeds
  return with_gradient(kernel)(q, k, v, seeds)


class _Step(NamedTuple):
  """Keys of one step: indices of their blocks [C G], keys and values [C B N j d], and masks."""

  blocks: jax.Array
  k: jax.Array
  v: jax.Array
  admitted: jax.Array
  keep: jax.Array | None


class _Kernel(NamedTuple):
  schedule: Schedule
  causal: bool
  n_keys: int
  rate: float | None

  def forward(self, q, k, v, seeds):
    """Returns the output [B L N d'] and the log-sum-exp of each query's scores [chunks C B N i]."""
    qs, ks, vs = self._chunks(q * q.shape[-1] ** -0.5), self._blocks(k), self._blocks(v)

    def chunk(inputs):
      number, n_steps, q = inputs

      def step(n, carry):
        acc, m, l = carry
        at = self._step(number, n, ks, vs, seeds)
        scores = jnp.where(at.admitted, _product('CBNid,CBNjd->CBNij', q, at.k), EXCLUDED)
        new_m = jnp.maximum(m, scores.max(axis=-1))
        weights = jnp.exp(scores - new_m[..., None])
        shrink = jnp.exp(m - new_m)
        l = l * shrink + weights.sum(axis=-1)
        kept = self._drop(weights, at.keep).astype(v.dtype)
        acc = acc * shrink[..., None] + _product('CBNij,CBNjd->CBNid', kept, at.v)
        return acc, new_m, l

      rows = q.shape[:-1]
      start = jnp.zeros((*rows, v.shape[-1])), jnp.full(rows, EXCLUDED), jnp.zeros(rows)
      acc, m, l = jax.lax.fori_loop(0, n_steps, step, start)
      return (acc / l[..., None]).astype(v.dtype), m + jnp.log(l)

    out, lse = jax.lax.map(chunk, (*self._counters(), qs))
    return self._unchunk(out, q.shape[1]), lse

  def backward(self, q, k, v, seeds, out, lse, d_out):
    """Returns the gradients of q, k and v."""
    scale = q.shape[-1] ** -0.5
    ks, vs = self._blocks(k), self._blocks(v)
    delta = jnp.sum(d_out.astype(jnp.float32) * out, axis=-1, keepdims=True)

    def chunk(sums, inputs):
      number, n_steps, q, d_out, delta, lse = inputs

      def step(n, carry):
        d_q, sums = carry
        at = self._step(number, n, ks, vs, seeds)
        scores = jnp.where(at.admitted, _product('CBNid,CBNjd->CBNij', q, at.k), EXCLUDED)
        weights = jnp.exp(scores - lse[..., None])
        kept = self._drop(weights, at.keep).astype(v.dtype)
        d_weights = self._drop(_product('CBNid,CBNjd->CBNij', d_out, at.v), at.keep)
        d_scores = (weights * (d_weights - delta)).astype(q.dtype)
        d_q += _product('CBNij,CBNjd->CBNid', d_scores, at.k)
        d_kv = (
          _product('CBNij,CBNid->CBNjd', d_scores, q),
          _product('CBNij,CBNid->CBNjd', kept, d_out),
        )
        return d_q, tuple(self._add(s, at.blocks, d) for s, d in zip(sums, d_kv, strict=True))

      d_q, sums = jax.lax.fori_loop(0, n_steps, step, (jnp.zeros(q.shape), sums))
      return sums, d_q

    sums = tuple(jnp.zeros(x.shape) for x in (ks, vs))
    arrays = [self._chunks(x) for x in (q * scale, d_out, delta)]
    (d_k, d_v), d_q = jax.lax.scan(chunk, sums, (*self._counters(), *arrays, lse))
    d_q = self._unchunk(d_q, q.shape[1]) * scale
    d_k, d_v = (self._unblock(x, self.n_keys) for x in (d_k, d_v))
    return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype)

  def _step(self, number, n, ks, vs, seeds) -> _Step:
    """Gathers the keys and values of step n of a chunk."""
    plan = self.schedule
    G, block = plan.group, plan.block
    blocks = jax.lax.dynamic_slice_in_dim(jnp.asarray(plan.keys)[number], n * G, G, axis=1)
    i = (number * plan.chunk + jnp.arange(plan.chunk))[:, None] * block + jnp.arange(block)
    j = blocks[:, :, None] * block + jnp.arange(block)
    j = jnp.where(blocks[:, :, None] < 0, jnp.iinfo(jnp.int32).max, j).reshape(plan.chunk, -1)
    i, j = i[:, :, None], j[:, None]
    admitted = (j <= i if self.causal else j < self.n_keys)[:, None, None]
    keep = None
    if self.rate:
      keep = jnp.moveaxis(Dropout(self.rate, seeds).keep(i, j), 2, 0)

    def fetch(x):
      if G * plan.chunk == 1:
        return jax.lax.dynamic_index_in_dim(x, blocks[0, 0])
      return rearrange(x[jnp.maximum(blocks, 0)], 'C G B N j d -> C B N (G j) d')

    return _Step(blocks, fetch(ks), fetch(vs), admitted, keep)

  def _add(self, sums, blocks, x):
    """Adds x [C B N (G j) d] to these blocks of `sums`; block -1 is skipped."""
    if blocks.size == 1:
      block = blocks[0, 0]
      old = jax.lax.dynamic_index_in_dim(sums, block)
      return jax.lax.dynamic_update_slice_in_dim(sums, old + x, block, axis=0)
    x = rearrange(x, 'C B N (G j) d -> (C G) B N j d', G=self.schedule.group)
    blocks = jnp.where(blocks < 0, len(sums), blocks).reshape(-1)
    return sums.at[blocks].add(x, mode='drop')

  def _drop(self, weights, keep):
    return weights if keep is None else jnp.where(keep, weights / (1 - self.rate), 0.0)

  def _counters(self):
    """Returns the index of each chunk and its number of steps."""
    steps = jnp.asarray(self.schedule.steps)
    return jnp.arange(len(steps)), steps

  def _blocks(self, x):
    """[B L N d] -> [n B N block d], zeros at the end."""
    block = self.schedule.block
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % block), (0, 0), (0, 0)])
    return rearrange(x, 'B (n i) N d -> n B N i d', i=block)

  def _unblock(self, x, length):
    """The inverse of `_blocks`."""
    return rearrange(x, 'n B N i d -> B (n i) N d')[:, :length]

  def _chunks(self, x):
    """[B L N d] -> [chunks C B N i d], zeros at the end."""
    chunk = self.schedule.chunk
    x = self._blocks(x)
    x = jnp.pad(x, [(0, -len(x) % chunk)] + [(0, 0)] * 4)
    return x.reshape(-1, chunk, *x.shape[1:])

  def _unchunk(self, x, length):
    """The inverse of `_chunks`."""
    return self._unblock(x.reshape(-1, *x.shape[2:]), length)


def _product(letters: str, a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.einsum(letters, a, b, preferred_element_type=jnp.float32)
