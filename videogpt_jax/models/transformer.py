"""The transformer block of the prior, and the sizes that it is built from.

Axis letters: B batch; L codes; D hidden_dim; F mlp_dim; N heads; d head size; C size of the norms'
condition, n of these a clip; S entries of the conditioning frames' memory, M their size.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.attention import attention
from videogpt_jax.models.layers import DTYPES, Linear, dropout
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.resnet import BLOCKS

ATTENTION_TYPES = ('full', 'sparse')

REMAT_POLICIES = {
  'none': jax.checkpoint_policies.everything_saveable,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}
"""What a block keeps for its gradient: all, the outputs of its linear layers, or its input."""


@dataclasses.dataclass(frozen=True)
class PriorConfig:
  """Sizes of a prior; the defaults are the published code's.

  Attributes:
    mlp_dim: hidden units of the feed-forward layer; 0 means 4 * hidden_dim.
    attn_type: 'full', or 'sparse' for the strided block-sparse mask.
    attn_block, n_local_blocks: of the sparse mask, see `attention.strided_mask`.
    n_classes: with more than 0 the prior is conditioned on a class, through its norms.
    action_dim: with more than 0 it is conditioned on a vector of this size a frame, likewise.
    n_cond_frames: with more than 0 it is conditioned on the first frames, by cross-attention.
    resnet_depth, resnet_dim: of the network that sees those frames.
    remat: what a block keeps for its gradient, a key of `REMAT_POLICIES`.
    dtype: of activations and products, 'float32' or 'bfloat16'; parameters are float32.
  """

  hidden_dim: int = 576
  n_heads: int = 4
  n_layers: int = 8
  mlp_dim: int = 0
  dropout: float = 0.2
  attn_dropout: float = 0.3
  attn_type: str = 'full'
  attn_block: int = 32
  n_local_blocks: int = 4
  n_classes: int = 0
  action_dim: int = 0
  n_cond_frames: int = 0
  resnet_depth: int = 34
  resnet_dim: int = 240
  remat: str = 'none'
  dtype: str = 'float32'

  def __post_init__(self):
    for name in ('hidden_dim', 'n_heads', 'n_layers', 'attn_block', 'n_local_blocks', 'resnet_dim'):
      if getattr(self, name) < 1:
        raise ValueError(f'prior.{name} ({getattr(self, name)}) must be at least 1')
    for name in ('mlp_dim', 'n_classes', 'action_dim', 'n_cond_frames'):
      if getattr(self, name) < 0:
        raise ValueError(f'prior.{name} ({getattr(self, name)}) must be 0 (off) or more')
    for name in ('dropout', 'attn_dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise ValueError(f'prior.{name} ({getattr(self, name)}) must be in [0, 1)')
    for name in ('hidden_dim', *(['resnet_dim'] if self.n_cond_frames else [])):
      size = getattr(self, name)
      if size % self.n_heads:
        raise ValueError(
          f'prior.{name} ({size}) must be divisible by n_heads ({self.n_heads}); use '
          f'{size // self.n_heads * self.n_heads} or {-(-size // self.n_heads) * self.n_heads}'
        )
    for name, options in {
      'attn_type': ATTENTION_TYPES,
      'dtype': DTYPES,
      'remat': tuple(REMAT_POLICIES),
      'resnet_depth': tuple(BLOCKS),
    }.items():
      if getattr(self, name) not in options:
        raise ValueError(f'prior.{name} {getattr(self, name)!r} is not one of {options}')


class LayerNorm(nnx.Module):
  """Layer norm whose gain and bias may follow a condition: `1 + W c` and `W_b c`.

  Epsilon stands outside the root, as in the published implementation:
  `(x - mean) * (EPSILON + rsqrt(var))`.
  """

  EPSILON = 1e-5

  def __init__(self, n_channels: int, cond_dim: int, *, rngs: nnx.Rngs):
    self.cond_dim = cond_dim
    if cond_dim:
      self.gain = Linear(cond_dim, n_channels, stddev=0, use_bias=False, rngs=rngs)
      self.gain.kernel[...] += cond_dim**-0.5
      self.shift = Linear(
        cond_dim, n_channels, stddev=(3 * cond_dim) ** -0.5, use_bias=False, rngs=rngs
      )
    else:
      self.scale = nnx.Param(jnp.ones(n_channels))
      self.bias = nnx.Param(jnp.zeros(n_channels))

  def __call__(self, x: jax.Array, cond: jax.Array | None) -> jax.Array:
    """x [B L D], cond [B n C] or None -> [B L D]."""
    x32 = x.astype(jnp.float32)
    mean, var = jnp.mean(x32, -1, keepdims=True), jnp.var(x32, -1, keepdims=True)
    y = (x32 - mean) * (self.EPSILON + jax.lax.rsqrt(var))
    if not self.cond_dim:
      return (y * self.scale[...] + self.bias[...]).astype(x.dtype)
    gain, shift = 1 + self.gain(cond), self.shift(cond)
    y = rearrange(y, 'B (n l) D -> B n l D', n=cond.shape[1])
    return (y * gain[:, :, None] + shift[:, :, None]).reshape(x.shape).astype(x.dtype)


class MultiHeadAttention(nnx.Module):
  """The four projections of attention; values have the size of what is attended to."""

  def __init__(self, config: PriorConfig, n_memory: int, *, rngs: nnx.Rngs):
    D = config.hidden_dim
    self.n_heads = config.n_heads
    self.query = Linear(D, D, stddev=D**-0.5, use_bias=False, rngs=rngs)
    self.key = Linear(n_memory, D, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    self.value = Linear(n_memory, n_memory, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    self.out = Linear(n_memory, D, stddev=(D * config.n_layers) ** -0.5, rngs=rngs)

  def queries(self, x: jax.Array) -> jax.Array:
    """[B L D] -> [B L N d]."""
    return constrain(rearrange(self.query(x), 'B L (N d) -> B L N d', N=self.n_heads), 'B L N d')

  def keys_values(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[B S M] -> keys [B S N d] and values [B S N M/N]."""
    return tuple(
      constrain(rearrange(f(memory), 'B S (N d) -> B S N d', N=self.n_heads), 'B S N d')
      for f in (self.key, self.value)
    )

  def project(self, y: jax.Array) -> jax.Array:
    """[B L N d] -> [B L D]."""
    y = constrain(y, 'B L N d')
    return constrain(self.out(rearrange(y, 'B L N d -> B L (N d)')), 'B L D')


def gelu2(x: jax.Array) -> jax.Array:
  """The sigmoid approximation of GELU. Source: Hendrycks and Gimpel 2016, section 2."""
  return jax.nn.sigmoid(1.702 * x) * x


class Block(nnx.Module):
  """Self-attention, cross-attention to the conditioning frames (if any) and feed-forward."""

  def __init__(self, config: PriorConfig, cond_dim: int, *, rngs: nnx.Rngs):
    D, mlp_dim = config.hidden_dim, config.mlp_dim or 4 * config.hidden_dim
    self.dropout = config.dropout
    self.attn_norm = LayerNorm(D, cond_dim, rngs=rngs)
    self.attn = MultiHeadAttention(config, D, rngs=rngs)
    self.cross = config.n_cond_frames > 0
    if self.cross:
      self.cross_norm = LayerNorm(D, cond_dim, rngs=rngs)
      self.cross_attn = MultiHeadAttention(config, config.resnet_dim, rngs=rngs)
    self.mlp_norm = LayerNorm(D, cond_dim, rngs=rngs)
    self.mlp_in = Linear(D, mlp_dim, stddev=(3 * D) ** -0.5, rngs=rngs)
    self.mlp_out = Linear(mlp_dim, D, stddev=(3 * mlp_dim) ** -0.5, rngs=rngs)

  def __call__(
    self,
    x: jax.Array,
    norm: jax.Array | None,
    attend: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    memory: tuple[jax.Array, jax.Array] | None,
    key: jax.Array | None = None,
  ) -> jax.Array:
    """[B L D] -> [B L D].

    Args:
      x: all positions of a clip, or the one that is being decoded.
      norm: the norms' condition for these positions, [B n C].
      attend: self-attention, from q, k, v [B L N d] to [B L N d]; when decoding, it is what knows
        the cache.
      memory: keys and values of the conditioning frames.
      key: for dropout, or None.
    """
    keys = (None,) * 3 if key is None else jax.random.split(key, 3)
    h = self.attn_norm(x, norm)
    h = self.attn.project(attend(self.attn.queries(h), *self.attn.keys_values(h)))
    x = x + dropout(h, self.dropout, keys[0])
    if self.cross:
      h = self.cross_attn.queries(self.cross_norm(x, norm))
      x = x + dropout(self.cross_attn.project(attention(h, *memory)), self.dropout, keys[1])
    h = constrain(gelu2(self.mlp_in(self.mlp_norm(x, norm))), 'B L F')
    h = constrain(self.mlp_out(h), 'B L D')
    return x + dropout(h, self.dropout, keys[2])
