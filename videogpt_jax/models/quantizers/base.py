"""What every quantizer of a VQ-VAE does.

Axis letters: B batch; t h w latent grid; E embedding_dim; K n_codes; G n_codebooks; e = E / G;
Q codes taken at once.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
  """Sizes of a quantizer, the part of a `VQVAEConfig` that it is built from.

  Attributes:
    n_codes: K, codes in each codebook.
    embedding_dim: E, size of the embedding, over all codebooks.
    n_codebooks: G, codes for each position of the latent grid.
    levels: of FSQ, the values that each entry of a code's vector takes; () for the others.
    bound: of FSQ's entries, one of `fsq.FSQ_BOUNDS`.
    entropy_weight: of the entropy loss, for the quantizers that have one.
  """

  n_codes: int
  embedding_dim: int
  n_codebooks: int = 1
  levels: tuple[int, ...] = ()
  bound: str = 'tanh'
  entropy_weight: float = 0.1

  @property
  def code_dim(self) -> int:
    """Returns e, the size of the vector of one code."""
    return self.embedding_dim // self.n_codebooks


class Quantized(NamedTuple):
  """The result of quantising z.

  Attributes:
    embeddings: float32 [B t h w E], vectors of the codes; gradients pass straight through to z.
    codes: int32 [B t h w], or [B t h w G] with several codebooks, in [0, K).
    losses: scalars by name, added to the loss of the VQ-VAE.
    statistics: scalars by name, logged only.
  """

  embeddings: jax.Array
  codes: jax.Array
  losses: dict[str, jax.Array]
  statistics: dict[str, jax.Array]


class Quantizer(nnx.Module):
  """Maps latents to codes and codes to vectors.

  A subclass is built by `cls(config, rngs=rngs)`. What it learns by gradient is `nnx.Param`; what
  it moves itself is another kind of `nnx.Variable`; a fixed quantizer has neither.

  Attributes:
    n_codes: K, codes in each codebook.
    code_dim: e, size of the vector of one code.
    n_codebooks: G, codes for each position of the latent grid.
  """

  n_codes: int
  code_dim: int
  n_codebooks: int

  def __init__(self, config: QuantizerConfig, *, rngs: nnx.Rngs):
    self.check(config)
    self.n_codes, self.n_codebooks = config.n_codes, config.n_codebooks
    self.code_dim = config.code_dim

  @classmethod
  def check(cls, config: QuantizerConfig):
    """Refuses sizes that the quantizer cannot have (UserError)."""
    if config.embedding_dim % config.n_codebooks:
      raise UserError(
        f'vqvae.embedding_dim ({config.embedding_dim}) must be divisible by n_codebooks '
        f'({config.n_codebooks})'
      )

  @classmethod
  def digits(cls, config: QuantizerConfig) -> tuple[int, ...]:
    """Returns the sizes of the digits that make up a code, the least significant first.

    A prior may predict groups of them apart. A code that has no parts is its own only digit.
    """
    return (config.n_codes,)

  def __call__(self, z: jax.Array, key: jax.Array | None) -> Quantized:
    """Quantises z [B t h w E]; the key is given in training only."""
    raise NotImplementedError

  def nearest(self, z: jax.Array) -> jax.Array:
    """Returns the codes int32 [B t h w], or [B t h w G], of z [B t h w E]."""
    raise NotImplementedError

  def lookup(self, codes: jax.Array, group: jax.Array | None = None) -> jax.Array:
    """Returns the vectors of codes.

    Args:
      codes: int32 [B t h w], or [B t h w G] with several codebooks; any shape if `group` is given.
      group: int32, broadcast to the shape of codes: the codebook of each code. The sampler, which
        draws codes one at a time, has codes [B Q] and groups [Q] or [B Q].
    Returns:
      float32 [*codes.shape e].
    """
    raise NotImplementedError

  def vectors(self) -> jax.Array:
    """Returns the vectors of all codes, float32 [G K e]."""
    group, codes = jnp.indices((self.n_codebooks, self.n_codes))
    return self.lookup(codes, group)


def perplexity(frequencies: jax.Array) -> jax.Array:
  """Returns exp of the entropy of frequencies [G K], averaged over codebooks: 1 to K."""
  entropy = -jnp.sum(frequencies * jnp.log(frequencies + 1e-10), axis=-1)
  return jnp.mean(jnp.exp(entropy))


def frequencies_of(codes: jax.Array, config: QuantizerConfig) -> jax.Array:
  """Returns how often each code occurs, float32 [G K], of codes int32 [B t h w] or [B t h w G]."""
  by_book = rearrange(codes, 'B t h w ... -> (...) (B t h w)')
  counts = jax.vmap(lambda codes: jnp.bincount(codes, length=config.n_codes))(by_book)
  return counts / by_book.shape[1]
