"""The prior: a GPT-like transformer over the codes of a clip in raster order.

Axis letters: B batch; L codes of a clip; K n_codes; E embedding_dim; D hidden_dim; C size of the
norms' condition, n of these a clip; S entries of the conditioning frames' memory, M their size.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

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
)
from videogpt_jax.models.layers import Linear, PositionEmbedding
from videogpt_jax.models.norms import NORMS
from videogpt_jax.models.placement import constrain
from videogpt_jax.models.resnet import ResNet
from videogpt_jax.models.rotary import rotary_angles, rotate
from videogpt_jax.models.transformer import REMAT_POLICIES, Block, PriorConfig


class CodeSpec(NamedTuple):
  """What a prior must know of the tokenizer whose codes it models.

  Attributes:
    latent_shape: (t, h, w), or (t, h, w, n_codebooks).
    n_codes: K.
    embedding_dim: E, of one code's vector.
    sequence_length: frames of a clip.
    resolution: height and width of a frame.
  """

  latent_shape: tuple[int, ...]
  n_codes: int
  embedding_dim: int
  sequence_length: int
  resolution: int


class Condition(NamedTuple):
  """What a prior is told of each clip, as its blocks use it.

  Attributes:
    norm: [B n C] for the norms; entry i holds for the i-th of n equal runs of codes; or None.
    memory: [B S M], features of the conditioning frames; or None.
  """

  norm: jax.Array | None = None
  memory: jax.Array | None = None

  def drop(self, rate: float, key: jax.Array) -> 'Condition':
    """Returns zeros, with probability `rate`, for all that is told of a clip."""

    def drop_rows(part):
      keep = jax.random.bernoulli(key, 1 - rate, (len(part), 1, 1))  # the same for every part
      return jnp.where(keep, part, jnp.zeros((), part.dtype))

    return jax.tree.map(drop_rows, self)


def attention_mask(config: PriorConfig, latent_shape: Sequence[int]) -> CausalMask:
  """Returns which codes attend to which; ValueError if sparse blocks do not tile the grid."""
  if config.attn_type == 'sparse':
    return strided_mask(latent_shape, config.attn_block, config.n_local_blocks)
  return CausalMask()


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
  """p(codes | condition), factorised in raster order.

  The blocks' parameters are stacked on a leading axis, so that one compiled block serves all.

  Source: VideoGPT (arXiv 2104.10157), section 3.2 and table 9.
  """

  def __init__(self, config: PriorConfig, codes: CodeSpec, *, rngs: nnx.Rngs):
    t, D = codes.latent_shape[0], config.hidden_dim
    # An action is known for every frame; a latent frame's norms see those of all its frames.
    actions_dim = config.action_dim * (codes.sequence_length // t)
    cond_dim = config.n_classes + actions_dim
    self.config, self.codes = config, codes
    self.mask = attention_mask(config, codes.latent_shape)
    if config.n_cond_frames:
      grid = (config.n_cond_frames, codes.resolution // 4, codes.resolution // 4)
      self.resnet = ResNet(config.resnet_depth, config.resnet_dim, rngs=rngs)
      self.cond_positions = PositionEmbedding(grid, config.resnet_dim, rngs=rngs)
    self.fc_in = Linear(codes.embedding_dim, D, stddev=0.02, use_bias=False, rngs=rngs)
    self.sos = nnx.Param(0.02 * jax.random.normal(rngs.params(), (D,)))
    self.rotary = config.positions == 'rotary'
    if not self.rotary:
      self.positions = PositionEmbedding(codes.latent_shape, D, rngs=rngs)
    stack = nnx.vmap(lambda rngs: Block(config, cond_dim, rngs=rngs))
    self.blocks = stack(rngs.split(config.n_layers))
    self.norm = NORMS[config.norm](D, cond_dim, rngs=rngs)
    self.fc_out = Linear(D, codes.n_codes, stddev=0, use_bias=False, rngs=rngs)

  def condition(
    self,
    class_label: jax.Array | None = None,
    frames: jax.Array | None = None,
    actions: jax.Array | None = None,
  ) -> Condition:
    """Prepares what the prior is conditioned on.

    Args:
      class_label: int32 [B], in [0, n_classes).
      frames: float32 [B n_cond_frames H W 3] in [-0.5, 0.5].
      actions: float32 [B T action_dim], one vector a frame. The paper gives only the size of the
        norms' condition (table 9: 64 = 16 frames x 4 for BAIR) and leaves open how frames share
        it; here the norms of a latent frame see the actions of the frames that it covers.
    Raises:
      ValueError: something needed is missing, something given is not used, or a shape is wrong.
    """
    config, spec = self.config, self.codes
    frame = (config.n_cond_frames, spec.resolution, spec.resolution, 3)
    _check('class_label', class_label, config.n_classes, ())
    _check('frames', frames, config.n_cond_frames, frame)
    _check('actions', actions, config.action_dim, (spec.sequence_length, config.action_dim))
    parts = []
    if class_label is not None:
      parts.append(jax.nn.one_hot(class_label, config.n_classes)[:, None])
    if actions is not None:
      parts.append(rearrange(actions, 'B (t f) A -> B t (f A)', t=spec.latent_shape[0]))
    n = max((part.shape[1] for part in parts), default=0)
    parts = [jnp.broadcast_to(p, (p.shape[0], n, p.shape[2])) for p in parts]
    memory = None
    if frames is not None:
      memory = self.resnet(frames.astype(config.dtype))
      memory = rearrange(
        memory + self.cond_positions().astype(memory.dtype), 'B ... M -> B (...) M'
      )
    return Condition(jnp.concatenate(parts, -1) if parts else None, memory)

  def __call__(
    self, embeddings: jax.Array, condition: Condition, key: jax.Array | None = None
  ) -> jax.Array:
    """Returns the logits of every code given those before it.

    Args:
      embeddings: float32 [B *latent_shape E], vectors of the codes.
      condition: of `condition()`.
      key: for dropout (training), or None.
    Returns:
      float32 [B *latent_shape K].
    """
    config = self.config
    x = constrain(self.embed(rearrange(embeddings, 'B ... E -> B (...) E')), 'B L D')
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
    if config.remat != 'none':
      layer = jax.checkpoint(layer, policy=REMAT_POLICIES[config.remat], prevent_cse=False)
    x, _ = jax.lax.scan(layer, x, (stacked, keys))
    return self.logits(x, condition.norm).reshape(*embeddings.shape[:-1], -1)

  def embed(self, embeddings: jax.Array) -> jax.Array:
    """Returns the blocks' input [B L D] at every position, of code vectors [B L E].

    A position sees the code before it; the first one sees the learnt start vector.
    """
    x = self.fc_in(embeddings.astype(self.config.dtype))
    sos = jnp.broadcast_to(self.sos[...].astype(x.dtype), (x.shape[0], 1, x.shape[2]))
    return jnp.concatenate([sos, x[:, :-1]], axis=1) + self.flat_positions().astype(x.dtype)

  def flat_positions(self) -> jax.Array:
    """Returns what is added to the input at each position in raster order, float32 [L D]."""
    L = math.prod(self.codes.latent_shape)
    return (
      jnp.zeros((L, self.config.hidden_dim)) if self.rotary else self.positions().reshape(L, -1)
    )

  def rotate(self, q: jax.Array, k: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gives queries and keys [B L N d] the positions [L] that they are at, if by rotation."""
    if not self.rotary:
      return q, k
    angles = jnp.asarray(rotary_angles(self.codes.latent_shape, q.shape[-1]))[positions]
    return rotate(q, angles), rotate(k, angles)

  def logits(self, x: jax.Array, norm: jax.Array | None) -> jax.Array:
    """Returns float32 [B L K] of the last block's output [B L D]."""
    return constrain(self.fc_out(self.norm(x, norm)), 'B L K').astype(jnp.float32)

  def unstacked_blocks(self) -> list[Block]:
    """Returns the blocks one by one, as decoding wants them."""
    graphdef, stacked = nnx.split(self.blocks)
    return [
      nnx.merge(graphdef, jax.tree.map(lambda a, i=i: a[i], stacked))
      for i in range(self.config.n_layers)
    ]


def _check(name: str, value: jax.Array | None, wanted: int, shape: tuple[int, ...]):
  """Refuses a condition that is missing, superfluous or of the wrong shape."""
  if value is None and wanted:
    raise ValueError(f'this prior is conditioned on {name}; give {name}, shape [B, *{shape}]')
  if value is not None and not wanted:
    raise ValueError(f'this prior is not conditioned on {name}; leave {name} out')
  if value is not None and value.shape[1:] != shape:
    raise ValueError(f'{name} has shape {value.shape}, but this prior wants [B, *{shape}]')
