"""Linear layers for a few rows on CPU (GEMV and thin GEMM), bound by reading the weights.

XLA computes a GEMV on one core; a sum in parts uses all cores. Before a product of several rows,
XLA copies the right operand into another layout; so the kernel, transposed once before the decoding
loop, stands on the left.

Axis letters: R rows; I, O input and output channels; P parts of the sum over I.
"""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.layers import Linear
from videogpt_jax.models.placement import on_one_cpu

PARTS = 8
"""Number of parts that a single row's sum over input channels is cut into."""

FEW = 32
"""Largest number of rows for which this is faster than `Linear`."""

Module = TypeVar('Module', bound=nnx.Module)


def for_few_rows(module: Module) -> Module:
  """Replaces the linear layers of a module, in place, where that helps, and returns it."""
  if not on_one_cpu():
    return module
  for _, parent in list(nnx.iter_modules(module)):
    for name, part in list(vars(parent).items()):
      if isinstance(part, Linear) and part.kernel.ndim == 2:  # stacked ones are not called
        setattr(parent, name, FewRowsLinear(part))
  return module


class FewRowsLinear(nnx.Module):
  """A linear layer for few rows; equal to `Linear` up to rounding."""

  def __init__(self, linear: Linear):
    self.linear = linear
    self.transposed = nnx.Param(jax.lax.optimization_barrier(linear.kernel[...].T))

  def __call__(self, x: jax.Array, dtype: jnp.dtype | None = None) -> jax.Array:
    """[... I] -> [... O], in x's dtype unless another is asked for."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > FEW:
      return self.linear(x, dtype)
    y = (self._one if len(rows) == 1 else self._several)(rows, dtype).reshape(*x.shape[:-1], -1)
    return y + self.linear.bias[...].astype(y.dtype) if self.linear.use_bias else y

  def _one(self, row: jax.Array, dtype: jnp.dtype | None) -> jax.Array:
    """[1 I] -> [1 O]."""
    kernel = self.linear.kernel[...].astype(row.dtype)
    n = math.gcd(len(kernel), PARTS)
    parts = rearrange(row, '1 (P I) -> P I', P=n), rearrange(kernel, '(P I) O -> P I O', P=n)
    sums = jnp.einsum('PI,PIO->PO', *parts, preferred_element_type=dtype)
    return sums.sum(axis=0, keepdims=True)

  def _several(self, rows: jax.Array, dtype: jnp.dtype | None) -> jax.Array:
    """[R I] -> [R O]; without barriers XLA would put the kernel on the right again."""
    kernel = self.transposed[...].astype(rows.dtype)
    columns = jax.lax.optimization_barrier(rows.T)
    product = jnp.matmul(kernel, columns, preferred_element_type=dtype)
    return jax.lax.optimization_barrier(product).T
