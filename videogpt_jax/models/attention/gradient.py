"""Gradients of attention kernels that have a backward pass of their own.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

from collections.abc import Callable
from typing import Protocol

import jax
from jax.ad_checkpoint import checkpoint_name

RESIDUALS = 'attention'
"""Name of the residuals of the forward pass, for `jax.checkpoint` policies that save them."""

EXCLUDED = -1e30
"""Score of a pair that the mask excludes; finite, since a difference of infinities is NaN."""


class Kernel(Protocol):
  """A forward pass, and a backward pass that recomputes weights from the log-sum-exp."""

  def forward(self, q, k, v, seeds) -> tuple[jax.Array, jax.Array]:
    """Returns the output and the log-sum-exp of each query's scores."""

  def backward(self, q, k, v, seeds, out, lse, d_out) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of q, k and v."""


def with_gradient(kernel: Kernel) -> Callable[..., jax.Array]:
  """Returns attention of (q, k, v, the dropout's seeds) with the kernel's gradient."""

  @jax.custom_vjp
  def attend(q, k, v, seeds):
    return kernel.forward(q, k, v, seeds)[0]

  def forward(q, k, v, seeds):
    out, lse = checkpoint_name(kernel.forward(q, k, v, seeds), RESIDUALS)
    return out, (q, k, v, seeds, out, lse)

  def backward(residuals, d_out):
    return *kernel.backward(*residuals, d_out), None

  attend.defvjp(forward, backward)
  return attend
