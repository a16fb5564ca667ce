"""Linear layers of a few rows on CPU, where reading the weights should be all the work.

XLA computes the product of one row on one core; a sum in parts goes to all of them. Before a
product of several rows it copies its right side into another order; so the kernel, transposed once
ahead of the loop that decodes, stands on the left.

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
"""Of the sum over input channels, of a single row."""

FEW = 32
"""Rows up to which this is quicker: a step of the BAIR prior takes 28 % less with 1 and 8 % with 8,
over a whole clip, and over 1,024 codes 17 % with 8 and 5 % with 32."""

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
  """What a linear layer computes, but for rounding."""

  def __init__(self, linear: Linear):
    self.linear = linear
    self.transposed = nnx.Param(jax.lax.optimization_barrier(linear.kernel[...].T))

  def __call__(self, x: jax.Array) -> jax.Array:
    """[... I] -> [... O], in x's dtype."""
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > FEW:
      return self.linear(x)
    y = (self._one if len(rows) == 1 else self._several)(rows).reshape(*x.shape[:-1], -1)
    return y + self.linear.bias[...].astype(x.dtype) if self.linear.use_bias else y

  def _one(self, row: jax.Array) -> jax.Array:
    """[1 I] -> [1 O]."""
    kernel = self.linear.kernel[...].astype(row.dtype)
    n = math.gcd(len(kernel), PARTS)
    parts = rearrange(row, '1 (P I) -> P I', P=n), rearrange(kernel, '(P I) O -> P I O', P=n)
    return jnp.einsum('PI,PIO->PO', *parts).sum(axis=0, keepdims=True)

  def _several(self, rows: jax.Array) -> jax.Array:
    """[R I] -> [R O]; without barriers XLA would put the kernel on the right again."""
    kernel = self.transposed[...].astype(rows.dtype)
    columns = jax.lax.optimization_barrier(rows.T)
    return jax.lax.optimization_barrier(kernel @ columns).T
