"""The codebook of a VQ-VAE: nearest codes, and learning by exponential moving averages.

Axis letters: B batch; t h w latent grid; G codebooks; K n_codes; E embedding_dim; e = E / G;
n = B*t*h*w latents.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx


class CodebookState(nnx.Variable):
  """Learnt without gradients: the optimiser skips it, checkpoints keep it."""


class Quantized(NamedTuple):
  """What quantisation makes of z.

  Attributes:
    embeddings: float32 [B t h w E], the codes' vectors; gradients pass straight through to z.
    codes: int32 [B t h w], or [B t h w G] with several codebooks, in [0, K).
    commitment_loss: scalar, 0.25 |z - sg(embeddings)|^2 averaged over all entries.
    perplexity: scalar in [1, K], exp of the entropy of the batch's code frequencies.
  """

  embeddings: jax.Array
  codes: jax.Array
  commitment_loss: jax.Array
  perplexity: jax.Array


class Codebook(nnx.Module):
  """G codebooks of K vectors; the embedding is split into G groups, each with its own.

  Source: van den Oord et al. 2017, appendix A.1 (moving averages); Dhariwal et al. 2020 (random
  restarts); VideoGPT, table 7 (several codebooks).
  """

  DECAY = 0.99
  COMMITMENT = 0.25
  SMOOTHING = 1e-7  # of the counts, so that an unused code divides by no zero
  RESTART_BELOW = 1.0  # a code whose averaged count is less is replaced by a random latent

  def __init__(self, n_codes: int, embedding_dim: int, n_codebooks: int, *, rngs: nnx.Rngs):
    if embedding_dim % n_codebooks:
      raise ValueError(
        f'embedding_dim ({embedding_dim}) must be divisible by n_codebooks ({n_codebooks})'
      )
    shape = (n_codebooks, n_codes, embedding_dim // n_codebooks)
    embeddings = jax.random.normal(rngs.params(), shape)
    self.n_codebooks = n_codebooks
    self.embeddings = CodebookState(embeddings)
    self.z_avg = CodebookState(embeddings.copy())
    self.N = CodebookState(jnp.zeros(shape[:2]))
    self.initialised = CodebookState(jnp.zeros((), bool))

  def lookup(self, codes: jax.Array) -> jax.Array:
    """Returns each code's vector.

    Args:
      codes: int32 [B t h w], or [B t h w G] with several codebooks.
    Returns:
      float32 [B t h w E], or [B t h w G e].
    """
    if self.n_codebooks == 1:
      return self.embeddings[0][codes]
    return self.embeddings[...][jnp.arange(self.n_codebooks), codes]

  def nearest(self, z: jax.Array) -> jax.Array:
    """Assigns each latent to its nearest code.

    Args:
      z: [B t h w E].
    Returns:
      int32 [B t h w], or [B t h w G] with several codebooks.
    Source: van den Oord et al. 2017, eq. 1.
    """
    codes = nearest_codes(self._groups(z), self.embeddings[...])
    codes = rearrange(
      codes, 'G (B t h w) -> B t h w G', **dict(zip('Bthw', z.shape[:-1], strict=True))
    )
    return codes[..., 0] if self.n_codebooks == 1 else codes

  def __call__(self, z: jax.Array, key: jax.Array | None) -> Quantized:
    """Quantises; with a key (training) the codebook learns from this batch.

    Args:
      z: [B t h w E].
      key: for the random restarts, or None to leave the codebook as it is.
    """
    z = z.astype(jnp.float32)
    groups = jax.lax.stop_gradient(self._groups(z))
    if key is not None:
      init_key, key = jax.random.split(key)
      self._initialise(groups, init_key)
    codes = self.nearest(z)
    embeddings = self.lookup(codes).reshape(z.shape)
    one_hot = jax.nn.one_hot(
      rearrange(codes, 'B t h w ... -> (...) (B t h w)'), self.embeddings.shape[1]
    )
    if key is not None:
      self._learn(groups, one_hot, key)
    frequencies = jnp.mean(one_hot, axis=1)
    entropy = -jnp.sum(frequencies * jnp.log(frequencies + 1e-10), axis=-1)
    return Quantized(
      embeddings=z + jax.lax.stop_gradient(embeddings - z),
      codes=codes,
      commitment_loss=self.COMMITMENT * jnp.mean(jnp.square(z - jax.lax.stop_gradient(embeddings))),
      perplexity=jnp.exp(jnp.mean(entropy)),
    )

  def _groups(self, z: jax.Array) -> jax.Array:
    return rearrange(z.astype(jnp.float32), 'B t h w (G e) -> G (B t h w) e', G=self.n_codebooks)

  def _initialise(self, z: jax.Array, key: jax.Array):
    """The first batch that is trained on gives the codes: random latents of it."""
    start = random_latents(key, z, self.embeddings.shape[1])
    done = self.initialised[...]
    self.embeddings[...] = jnp.where(done, self.embeddings[...], start)
    self.z_avg[...] = jnp.where(done, self.z_avg[...], start)
    self.N[...] = jnp.where(done, self.N[...], 1.0)
    self.initialised[...] = jnp.ones((), bool)

  def _learn(self, z: jax.Array, one_hot: jax.Array, key: jax.Array):
    """Moves the codes to the mean of their latents; z [G n e], one_hot [G n K].

    Sums run over the batch, which under `jit` is the global one.
    """
    n_codes = one_hot.shape[-1]
    self.N[...] += (1 - self.DECAY) * (one_hot.sum(axis=1) - self.N[...])
    sums = jnp.einsum('gnk,gne->gke', one_hot, z)
    self.z_avg[...] += (1 - self.DECAY) * (sums - self.z_avg[...])
    total = self.N[...].sum(axis=1, keepdims=True)
    counts = (self.N[...] + self.SMOOTHING) / (total + n_codes * self.SMOOTHING) * total
    used = self.N[...] >= self.RESTART_BELOW
    self.embeddings[...] = jnp.where(
      used[..., None], self.z_avg[...] / counts[..., None], random_latents(key, z, n_codes)
    )


def nearest_codes(z: jax.Array, embeddings: jax.Array) -> jax.Array:
  """Returns int32 [G n]: for z [G n e] the index of the closest of embeddings [G K e]."""
  # |z|^2 is the same for every code, so that it decides nothing.
  distances = jnp.sum(jnp.square(embeddings), axis=-1)[:, None] - 2 * jnp.einsum(
    'gne,gke->gnk', z, embeddings, precision=jax.lax.Precision.HIGHEST
  )
  return jnp.argmin(distances, axis=-1).astype(jnp.int32)


def random_latents(key: jax.Array, z: jax.Array, count: int) -> jax.Array:
  """Draws `count` different latents of z [G n e] as [G count e].

  Where n is less than `count`, latents repeat with a little noise, as the published code does.
  """
  order_key, noise_key = jax.random.split(key)
  n, e = z.shape[1:]
  repeats = -(-count // n)
  if repeats > 1:
    z = jnp.tile(z, (1, repeats, 1))
    z += 0.01 / e**0.5 * jax.random.normal(noise_key, z.shape)
  return z[:, jax.random.permutation(order_key, n * repeats)[:count]]
