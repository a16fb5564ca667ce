"""The prior: a GPT-like transformer over the codes of a clip in raster order.

Axis letters: B batch; L codes of a clip; K logits, see `code_factors` (n_codes, unless codes have
several factors); E embedding_dim; D hidden_dim; C size of the
norms' condition, n of these a clip; S entries of the conditioning frames' memory, M their size.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.attention import (
  CausalMask,
  Dropout,
  attention,
  choose,
  make_dropout,
  strided_mask,
  window_mask,
)
from videogpt_jax.models.code_factors import code_factors
from videogpt_jax.models.conditioners import Condition, Conditioners, Conditions
from videogpt_jax.models.layers import Linear, PositionEmbedding
from videogpt_jax.models.norms import NORMS
from videogpt_jax.models.placement import constrain, on_one_cpu
from videogpt_jax.models.rotary import rotary_angles, rotate
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import REMAT_POLICIES, Block, PriorConfig

MOST_UNROLLED = 8
"""Layers that are compiled one by one on a CPU, where a loop copies what each layer keeps for its
gradient: 1.2 times the speed of a small prior's training step."""


def attention_mask(config: PriorConfig, latent_shape: Sequence[int]) -> CausalMask | None:
  """Returns which codes attend to which; ValueError if sparse blocks do not tile the grid."""
  if config.target == 'masked':
    return None
  if config.attn_type == 'sparse':
    return strided_mask(latent_shape, config.attn_block, config.n_local_blocks)
  if config.attn_type == 'window':
    return window_mask(latent_shape, config.attn_window)
  return CausalMask()


def position_grid(config: PriorConfig, codes: CodeSpec) -> tuple[int, ...]:
  """Returns the lengths of the position tables: (t, h, w), or (t, h, w, n_codebooks)."""
  grid = codes.latent_shape
  return (*grid, 1) if config.codebook_axis and len(grid) == 3 else grid


def check_attention(config: PriorConfig, latent_shape: Sequence[int]):
  """Refuses before anything is trained what attention would refuse when it is compiled.

  Raises:
    ValueError: the platform lacks the kernel, or it cannot do this, or blocks do not tile the grid.
  """
  shape = (1, math.prod(latent_shape), config.n_heads, config.head_size)
  like = jax.ShapeDtypeStruct(shape, config.dtype)
  drop = Dropout(config.attn_dropout, jnp.zeros(shape[::2])) if config.attn_dropout else None
  choose(like, like, like, attention_mask(config, latent_shape), drop, config.attn_backend)


class Prior(nnx.Module):
  """p(codes | condition), factorised in raster order; or p(masked codes | others, condition).

  The blocks' parameters are stacked on a leading axis, so that one compiled block serves all.

  Source: VideoGPT (arXiv 2104.10157), section 3.2 and table 9.
  """

  def __init__(self, config: PriorConfig, codes: CodeSpec, *, rngs: nnx.Rngs):
    D = config.hidden_dim
    self.config, self.codes = config, codes
    self.mask = attention_mask(config, codes.latent_shape)
    self.factors = code_factors(config.n_factors, codes.digits)
    self.conditioners = Conditioners(config, codes, rngs=rngs)
    norm_dim, memory_dim = self.conditioners.norm_dim, self.conditioners.memory_dim
    self.fc_in = Linear(codes.embedding_dim, D, stddev=0.02, use_bias=False, rngs=rngs)
    self.sos = nnx.Param(0.02 * jax.random.normal(rngs.params(), (D,)))
    self.rotary = config.positions == 'rotary'
    if not self.rotary:
      self.positions = PositionEmbedding(position_grid(config, codes), D, rngs=rngs)
    stack = nnx.vmap(lambda rngs: Block(config, norm_dim, memory_dim, rngs=rngs))
    self.blocks = stack(rngs.split(config.n_layers))
    self.norm = NORMS[config.norm](D, norm_dim, rngs=rngs)
    self.fc_out = Linear(D, self.factors.n_logits, stddev=0, use_bias=False, rngs=rngs)

  def condition(self, conditions: Conditions) -> Condition:
    """Prepares what the prior is conditioned on; see `Conditioners`."""
    return self.conditioners(conditions)

  @property
  def length(self) -> int:
    """L."""
    return math.prod(self.codes.latent_shape)

  def __call__(
    self,
    embeddings: jax.Array,
    condition: Condition,
    key: jax.Array | None = None,
    known: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the logits of every code given those before it, or given those that are known.

    Args:
      embeddings: float32 [B *latent_shape E], vectors of the codes.
      condition: of `condition()`.
      key: for dropout (training), or None.
      known: bool [B *latent_shape], the codes that are not masked, for a prior that predicts masked
        codes; else None.
    Returns:
      float32 [B *latent_shape K].
    """
    config = self.config
    flat = rearrange(embeddings, 'B ... E -> B (...) E')
    x = self.embed(flat) if known is None else self.embed_known(flat, known.reshape(flat.shape[:2]))
    x = constrain(x, 'B L D')
    positions = jnp.arange(x.shape[1])
    graphdef, stacked = nnx.split(self.blocks)

    def layer(x, inputs):
      params, key = inputs
      attn_key, key = (None, None) if key is None else jax.random.split(key)

      def attend(q, k, v):
        q, k = self.rotate(q, k, positions)
        drop = make_dropout(config.attn_dropout, attn_key, q.shape[0], config.n_heads)
        return attention(q, k, v, self.mask, dropout=drop, backend=config.attn_backend)

      block = nnx.merge(graphdef, params)
      memory = block.cross_attn.keys_values(condition.memory) if block.cross else None
      return block(x, condition.norm, attend, memory, key), None

    keys = None if key is None else jax.random.split(key, config.n_layers)
    unroll = on_one_cpu() and config.n_layers <= MOST_UNROLLED and config.remat == 'none'
    if config.remat != 'none':  # in a loop alone, or XLA would keep what is to be computed again
      layer = jax.checkpoint(layer, policy=REMAT_POLICIES[config.remat], prevent_cse=False)
    x, _ = jax.lax.scan(layer, x, (stacked, keys), unroll=unroll)
    return self.logits(x, condition.norm).reshape(*embeddings.shape[:-1], -1)

  def embed(self, embeddings: jax.Array) -> jax.Array:
    """Returns the blocks' input [B L D] at every position, of code vectors [B L E].

    A position sees the code before it; the first one sees the learnt start vector.
    """
    x = self.fc_in(embeddings.astype(self.config.dtype))
    sos = jnp.broadcast_to(self.sos[...].astype(x.dtype), (x.shape[0], 1, x.shape[2]))
    return jnp.concatenate([sos, x[:, :-1]], axis=1) + self.flat_positions().astype(x.dtype)

  def embed_known(self, embeddings: jax.Array, known: jax.Array) -> jax.Array:
    """Returns the blocks' input [B L D] of code vectors [B L E], of which some are known [B L].

    A position sees its own code; a masked one sees the learnt start vector.
    """
    x = self.fc_in(embeddings.astype(self.config.dtype))
    x = jnp.where(known[..., None], x, self.sos[...].astype(x.dtype))
    return x + self.flat_positions().astype(x.dtype)

  def flat_positions(self) -> jax.Array:
    """Returns what is added to the input at each position in raster order, float32 [L D]."""
    L = self.length
    return (
      jnp.zeros((L, self.config.hidden_dim)) if self.rotary else self.positions().reshape(L, -1)
    )

  def rotate(self, q: jax.Array, k: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rotates queries and keys [B L N d] by their positions, [L] or [B L], if these are rotary."""
    if not self.rotary:
      return q, k
    angles = jnp.asarray(rotary_angles(self.codes.latent_shape, q.shape[-1]))[positions]
    return rotate(q, angles), rotate(k, angles)

  def logits(self, x: jax.Array, norm: jax.Array | None) -> jax.Array:
    """Returns float32 [B L K] of the last block's output [B L D]."""
    return constrain(self.fc_out(self.norm(x, norm), jnp.float32), 'B L K')

  def unstacked_blocks(self) -> list[Block]:
    """Returns the blocks one by one, as decoding wants them."""
    graphdef, stacked = nnx.split(self.blocks)
    return [
      nnx.merge(graphdef, jax.tree.map(lambda a, i=i: a[i], stacked))
      for i in range(self.config.n_layers)
    ]
