"""What attention kernels with a backward of their own have in common.

Axis letters: B batch; L queries; S keys; N heads; d head size.
"""

from collections.abc import Callable
from typing import Protocol

import jax
from jax.ad_checkpoint import checkpoint_name

RESIDUALS = 'attention'
"""Name of what the gradient needs of the forward, for `jax.checkpoint` policies that keep it."""

EXCLUDED = -1e30
"""Score of a pair that the mask excludes: finite, so that differences of such are not NaN."""


class Kernel(Protocol):
  """A forward, and a backward that computes the weights again from their log-sum-exp."""

  def forward(self, q, k, v, seeds) -> tuple[jax.Array, jax.Array]:
    """Returns the output and the log-sum-exp of each query's scores."""

  def backward(self, q, k, v, seeds, out, lse, d_out) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the gradients of q, k and v."""


def with_gradient(kernel: Kernel) -> Callable[..., jax.Array]:
  """Returns the function of q, k, v and the dropout's seeds that has this gradient."""

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
