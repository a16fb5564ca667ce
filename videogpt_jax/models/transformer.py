"""The transformer block of the prior, and the sizes that it is built from.

Axis letters: B batch; L codes; D hidden_dim; F mlp_dim; N heads; d head size; C size of the norms'
condition, n of these a clip; S entries of the conditioning frames' memory, M their size.
"""

import dataclasses
from collections.abc import Callable

import jax
from einops import rearrange
from flax import nnx

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.models.attention import attention, check_backend
from videogpt_jax.models.attention.gradient import RESIDUALS
from videogpt_jax.models.layers import DTYPES, Linear, dropout
from videogpt_jax.models.norms import NORMS, HeadNorm
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.resnet import BLOCKS

ATTENTION_TYPES = ('full', 'sparse', 'window')
ACTION_FORMS = ('before', 'during', 'clip')
POSITIONS = ('learnt', 'rotary')
MLPS = ('gelu', 'swiglu')
TARGETS = ('next', 'masked')

REMAT_POLICIES = {
  'none': None,
  'dots': jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    jax.checkpoint_policies.save_only_these_names(RESIDUALS),
  ),
  'full': jax.checkpoint_policies.nothing_saveable,
}
"""Rematerialisation: what a block keeps for its gradient."""

MOST = {
  **dict.fromkeys(('hidden_dim', 'head_dim', 'resnet_dim', 'action_dim', 'vector_dim'), 2**16),
  **dict.fromkeys(('n_layers', 'n_heads', 'n_cond_frames', 'n_factors', 'history'), 2**12),
  'attn_window': 2**12,
  **dict.fromkeys(('mlp_dim', 'n_classes'), 2**20),
}
"""Sizes beyond all that is trained; more is a fault in a file."""


@dataclasses.dataclass(frozen=True)
class PriorConfig:
  """Sizes of a prior; the defaults are the published code's.

  Attributes:
    hidden_dim: units of a position's activations.
    n_heads: heads of self- and cross-attention.
    n_layers: blocks.
    head_dim: size of a head's queries, keys and values, in self- and cross-attention. 0 means
      hidden_dim / n_heads, and values of cross-attention that keep the memory's size.
    attn_bias: whether attention's output has a bias.
    mlp_dim: hidden units of the feed-forward layer. 0 means 4 * hidden_dim for 'gelu', and for
      'swiglu', which has three products instead of two, the multiple of 8 nearest to 2/3 of that.
    dropout: probability that an activation is dropped after attention and feed-forward.
    attn_dropout: probability that an attention weight is dropped; not 0 rules out fast kernels.
    target: what the prior learns to predict: 'next', each code from those before it; or 'masked',
      any codes from any others, which decodes in parallel, see `sampling.masked`.
    attn_type: 'full'; 'sparse' for the strided block-sparse mask; or 'window' for a sliding window.
    attn_window: latent frames that 'window' reaches back to, the own one included.
    attn_backend: kernel of self-attention, a key of `attention.BACKENDS`; 'auto' chooses by
      platform.
    attn_block, n_local_blocks: block size and local blocks of the sparse mask, see
      `attention.strided_mask`.
    n_classes: number of classes that condition the prior through its norms; 0 is none.
    action_dim: size of the vector a frame that conditions the prior through its norms; 0 is none.
    action_form: which actions condition a code, see `conditioners.ActionsConditioner`.
    vector_dim: size of a vector a clip that conditions the prior through its norms; 0 is none.
    n_cond_frames: number of first frames that condition the prior by cross-attention; 0 is none.
    resnet_depth, resnet_dim: depth and width of the network that encodes those frames.
    resnet_grid: (t, h, w) of their features, for which the network strides time, too, and has a
      larger stem from 128 pixels on; () keeps t and divides h and w by 4.
    history: of a causal tokenizer's codes, latent frames before a training clip at most: it is a
      stretch of a longer video. Longer videos then go on with the codes that they have. 0: every
      clip is encoded by itself, and so are the beginnings of a longer video's later clips.
    cond_dropout: probability that zeros replace a training clip's whole condition. Guidance needs
      a prior that was trained with it.
    positions: 'learnt', one table an axis, added to the input; or 'rotary', see `rotary`.
    codebook_axis: whether a single codebook has a position table too, as several have.
    qk_norm: whether queries and keys are normalised, head by head, before their product.
    norm: 'layer' or 'rms', see `norms`.
    mlp: 'gelu', or 'swiglu' (Shazeer 2020, arXiv 2002.05202), without biases.
    n_factors: heads that predict a code, each a group of its digits, see `code_factors`; 0 takes as
      few as are small enough, one for all codebooks of moving averages.
    remat: rematerialisation policy of a block, a key of `REMAT_POLICIES`.
    dtype: type of activations and products, 'float32' or 'bfloat16'; parameters are float32.
  """

  hidden_dim: int = 576
  n_heads: int = 4
  n_layers: int = 8
  head_dim: int = 0
  attn_bias: bool = True
  mlp_dim: int = 0
  dropout: float = 0.2
  attn_dropout: float = 0.3
  target: str = 'next'
  attn_type: str = 'full'
  attn_window: int = 0
  attn_backend: str = 'auto'
  attn_block: int = 32
  n_local_blocks: int = 4
  n_classes: int = 0
  action_dim: int = 0
  action_form: str = 'before'
  vector_dim: int = 0
  n_cond_frames: int = 0
  resnet_depth: int = 34
  resnet_dim: int = 240
  resnet_grid: tuple[int, ...] = ()
  history: int = 0
  cond_dropout: float = 0.0
  positions: str = 'learnt'
  codebook_axis: bool = False
  qk_norm: bool = False
  norm: str = 'layer'
  mlp: str = 'gelu'
  n_factors: int = 0
  remat: str = 'none'
  dtype: str = 'float32'

  def __post_init__(self):
    for name in ('hidden_dim', 'n_heads', 'n_layers', 'attn_block', 'n_local_blocks', 'resnet_dim'):
      if getattr(self, name) < 1:
        raise UserError(f'prior.{name} ({getattr(self, name)}) must be at least 1')
    counts = ('n_classes', 'action_dim', 'vector_dim', 'n_cond_frames', 'n_factors', 'history')
    for name in ('head_dim', 'mlp_dim', 'attn_window', *counts):
      if getattr(self, name) < 0:
        raise UserError(f'prior.{name} ({getattr(self, name)}) must be 0 (off) or more')
    typed.at_most('prior', self, MOST)
    for name in ('dropout', 'attn_dropout', 'cond_dropout'):
      if not 0 <= getattr(self, name) < 1:
        raise UserError(f'prior.{name} ({getattr(self, name)}) must be in [0, 1)')
    by_width = [] if self.head_dim else ['hidden_dim', *['resnet_dim'] * bool(self.n_cond_frames)]
    for name in by_width:
      size = getattr(self, name)
      if size % self.n_heads:
        raise UserError(
          f'prior.{name} ({size}) must be divisible by n_heads ({self.n_heads}); use '
          f'{size // self.n_heads * self.n_heads} or {-(-size // self.n_heads) * self.n_heads}'
        )
    for name, options in {
      'target': TARGETS,
      'attn_type': ATTENTION_TYPES,
      'action_form': ACTION_FORMS,
      'positions': POSITIONS,
      'norm': tuple(NORMS),
      'mlp': MLPS,
      'dtype': DTYPES,
      'remat': tuple(REMAT_POLICIES),
      'resnet_depth': tuple(BLOCKS),
    }.items():
      if getattr(self, name) not in options:
        raise UserError(f'prior.{name} {getattr(self, name)!r} is not one of {options}')

    if (self.attn_type == 'window') != (self.attn_window > 0):
      raise UserError(
        f"prior.attn_window ({self.attn_window}) must be at least 1 with attn_type='window', and 0 "
        f'without; attn_type is {self.attn_type!r}'
      )
    if self.target == 'masked' and self.attn_type != 'full':
      raise UserError(
        f"prior.target='masked' needs prior.attn_type='full' (not {self.attn_type!r}): its codes "
        'have no order'
      )
    check_backend(self.attn_backend, None, self.attn_dropout)

  @property
  def head_size(self) -> int:
    """Size of a head's queries, keys and values in self-attention."""
    return self.head_dim or self.hidden_dim // self.n_heads

  @property
  def mlp_units(self) -> int:
    """Hidden units of the feed-forward layer."""
    if self.mlp_dim:
      return self.mlp_dim
    D = self.hidden_dim
    return max(round(D / 3), 1) * 8 if self.mlp == 'swiglu' else 4 * D


class MultiHeadAttention(nnx.Module):
  """The four projections of attention, to entries of size M = `n_memory`.

  Keys have N d channels; values have as many if `head_dim` is set, else the M of what is attended
  to.
  """

  def __init__(self, config: PriorConfig, n_memory: int, *, rngs: nnx.Rngs):
    D, n_keys = config.hidden_dim, config.n_heads * config.head_size
    n_values = n_keys if config.head_dim else n_memory
    self.n_heads, self.qk_norm = config.n_heads, config.qk_norm
    if config.qk_norm:
      self.query_norm, self.key_norm = HeadNorm(config.head_size), HeadNorm(config.head_size)
    self.query = Linear(D, n_keys, stddev=D**-0.5, use_bias=False, rngs=rngs)
    self.key = Linear(n_memory, n_keys, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    self.value = Linear(n_memory, n_values, stddev=n_memory**-0.5, use_bias=False, rngs=rngs)
    stddev = (D * config.n_layers) ** -0.5
    self.out = Linear(n_values, D, stddev=stddev, use_bias=config.attn_bias, rngs=rngs)

  def queries(self, x: jax.Array) -> jax.Array:
    """[B L D] -> [B L N d]."""
    q = self._split(self.query(x))
    return constrain(self.query_norm(q) if self.qk_norm else q, 'B L N d')

  def keys_values(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[B S M] -> keys [B S N d] and values [B S N d], or [B S N M/N] without `head_dim`."""
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
  """Self-attention, cross-attention to the conditions' memory (if any) and feed-forward."""

  def __init__(self, config: PriorConfig, cond_dim: int, memory_dim: int, *, rngs: nnx.Rngs):
    D, mlp_dim, norm = config.hidden_dim, config.mlp_units, NORMS[config.norm]
    self.dropout = config.dropout
    self.attn_norm = norm(D, cond_dim, rngs=rngs)
    self.attn = MultiHeadAttention(config, D, rngs=rngs)
    self.cross = memory_dim > 0
    if self.cross:
      self.cross_norm = norm(D, cond_dim, rngs=rngs)
      self.cross_attn = MultiHeadAttention(config, memory_dim, rngs=rngs)
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
      memory: keys and values of the conditions' memory, or None.
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
