"""The transformer block of the prior, and the sizes that it is built from.

Axis letters: B batch; L codes; D hidden_dim; F mlp_dim; N heads; d head size; C size of the norms'
condition, n of these a clip; S entries of the conditioning frames' memory, M their size.
"""

import dataclasses
from collections.abc import Callable

import jax
from einops import rearrange
from flax import nnx

from videogpt_jax.models.attention import attention, check_backend
from videogpt_jax.models.attention.gradient import RESIDUALS
from videogpt_jax.models.layers import DTYPES, Linear, dropout
from videogpt_jax.models.norms import NORMS, HeadNorm
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.resnet import BLOCKS

ATTENTION_TYPES = ('full', 'sparse')
POSITIONS = ('learnt', 'rotary')
MLPS = ('gelu', 'swiglu')

REMAT_POLICIES = {
  'none': None,
  'dots': jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    jax.checkpoint_policies.save_only_these_names(RESIDUALS),
  ),
  'full': jax.checkpoint_policies.nothing_saveable,
}
"""What a block keeps for its gradient: all, the outputs of its products, or its input."""


@dataclasses.dataclass(frozen=True)
class PriorConfig:
  """Sizes of a prior; the defaults are the published code's.

  Attributes:
    mlp_dim: hidden units of the feed-forward layer; 0 means 4 * hidden_dim, or for 'swiglu', which
      has three products where 'gelu' has two, the multiple of 8 nearest to 2/3 of that.
    attn_type: 'full', or 'sparse' for the strided block-sparse mask.
    attn_backend: the kernel of self-attention, a key of `attention.BACKENDS`, or 'auto', which
      chooses by platform.
    attn_block, n_local_blocks: of the sparse mask, see `attention.strided_mask`.
    n_classes: with more than 0 the prior is conditioned on a class, through its norms.
    action_dim: with more than 0 it is conditioned on a vector of this size a frame, likewise.
    n_cond_frames: with more than 0 it is conditioned on the first frames, by cross-attention.
    resnet_depth, resnet_dim: of the network that sees those frames.
    cond_dropout: probability that a training clip's condition is zeros, all of it; guidance when
      sampling needs a prior that knows that.
    positions: 'learnt', a table an axis that is added to the input, or 'rotary', see `rotary`.
    qk_norm: whether queries and keys are normalised, head by head, before their product.
    norm: 'layer' or 'rms', see `norms`.
    mlp: 'gelu', or 'swiglu' (Shazeer 2020, arXiv 2002.05202), without biases.
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
  attn_backend: str = 'auto'
  attn_block: int = 32
  n_local_blocks: int = 4
  n_classes: int = 0
  action_dim: int = 0
  n_cond_frames: int = 0
  resnet_depth: int = 34
  resnet_dim: int = 240
  cond_dropout: float = 0.0
  positions: str = 'learnt'
  qk_norm: bool = False
  norm: str = 'layer'
  mlp: str = 'gelu'
  remat: str = 'none'
  dtype: str = 'float32'

  def __post_init__(self):
    for name in ('hidden_dim', 'n_heads', 'n_layers', 'attn_block', 'n_local_blocks', 'resnet_dim'):
      if getattr(self, name) < 1:
        raise ValueError(f'prior.{name} ({getattr(self, name)}) must be at least 1')
    for name in ('mlp_dim', 'n_classes', 'action_dim', 'n_cond_frames'):
      if getattr(self, name) < 0:
        raise ValueError(f'prior.{name} ({getattr(self, name)}) must be 0 (off) or more')
    for name in ('dropout', 'attn_dropout', 'cond_dropout'):
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
      'positions': POSITIONS,
      'norm': tuple(NORMS),
      'mlp': MLPS,
      'dtype': DTYPES,
      'remat': tuple(REMAT_POLICIES),
      'resnet_depth': tuple(BLOCKS),
    }.items():
      if getattr(self, name) not in options:
        raise ValueError(f'prior.{name} {getattr(self, name)!r} is not one of {options}')

    check_backend(self.attn_backend, None, self.attn_dropout)

  @property
  def head_size(self) -> int:
    """Of the self-attention's queries, keys and values."""
    return self.hidden_dim // self.n_heads

  @property
  def mlp_units(self) -> int:
    """Hidden units of the feed-forward layer."""
    if self.mlp_dim:
      return self.mlp_dim
    D = self.hidden_dim
    return max(round(D / 3), 1) * 8 if self.mlp == 'swiglu' else 4 * D


class MultiHeadAttention(nnx.Module):
  """The four projections of attention; values have the size of what is attended to."""

  def __init__(self, config: PriorConfig, n_memory: int, *, rngs: nnx.Rngs):
    D = config.hidden_dim
    self.n_heads, self.qk_norm = config.n_heads, config.qk_norm
    if config.qk_norm:
      self.query_norm, self.key_norm = HeadNorm(config.head_size), HeadNorm(config.head_size)
    self.query = Linear(D, D, stddev=D**-0.5, use_bias=False, rngs=rngs)
    self.key = Linear(n_memory, D, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    self.value = Linear(n_memory, n_memory, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    self.out = Linear(n_memory, D, stddev=(D * config.n_layers) ** -0.5, rngs=rngs)

  def queries(self, x: jax.Array) -> jax.Array:
    """[B L D] -> [B L N d]."""
    q = self._split(self.query(x))
    return constrain(self.query_norm(q) if self.qk_norm else q, 'B L N d')

  def keys_values(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[B S M] -> keys [B S N d] and values [B S N M/N]."""
    k, v = self._split(self.key(memory)), self._split(self.value(memory))
    k = self.key_norm(k) if self.qk_norm else k
    return constrain(k, 'B S N d'), constrain(v, 'B S N d')

  def project(self, y: jax.Array) -> jax.Array:
    """[B L N d] -> [B L D]."""
    y = rearrange(constrain(y, 'B L N d'), 'B L N d -> B L (N d)')
    return constrain(self.out(constrain(y, 'B L Q')), 'B L D')

  def _split(self, x: jax.Array) -> jax.Array:
    """[B L (N d)] -> [B L N d].

    The product that made x is done where its positions are; only then heads change places.
    """
    return rearrange(constrain(x, 'B L Q'), 'B L (N d) -> B L N d', N=self.n_heads)


def gelu2(x: jax.Array) -> jax.Array:
  """The sigmoid approximation of GELU. Source: Hendrycks and Gimpel 2016, section 2."""
  return jax.nn.sigmoid(1.702 * x) * x


class Block(nnx.Module):
  """Self-attention, cross-attention to the conditioning frames (if any) and feed-forward."""

  def __init__(self, config: PriorConfig, cond_dim: int, *, rngs: nnx.Rngs):
    D, mlp_dim, norm = config.hidden_dim, config.mlp_units, NORMS[config.norm]
    self.dropout = config.dropout
    self.attn_norm = norm(D, cond_dim, rngs=rngs)
    self.attn = MultiHeadAttention(config, D, rngs=rngs)
    self.cross = config.n_cond_frames > 0
    if self.cross:
      self.cross_norm = norm(D, cond_dim, rngs=rngs)
      self.cross_attn = MultiHeadAttention(config, config.resnet_dim, rngs=rngs)
    self.mlp_norm = norm(D, cond_dim, rngs=rngs)
    self.gated = config.mlp == 'swiglu'
    biases = not self.gated

    def linear(n_in, n_out):
      return Linear(n_in, n_out, stddev=(3 * n_in) ** -0.5, use_bias=biases, rngs=rngs)

    self.mlp_in, self.mlp_out = linear(D, mlp_dim), linear(mlp_dim, D)
    if self.gated:
      self.mlp_gate = linear(D, mlp_dim)

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
    return x + dropout(self.feed_forward(self.mlp_norm(x, norm)), self.dropout, keys[2])

  def feed_forward(self, x: jax.Array) -> jax.Array:
    """[B L D] -> [B L D]."""
    h = self.mlp_in(x)
    h = jax.nn.silu(self.mlp_gate(x)) * h if self.gated else gelu2(h)
    return constrain(self.mlp_out(constrain(h, 'B L F')), 'B L D')
