"""A codebook learnt by exponential moving averages.

Axis letters: B batch; t h w latent grid; G n_codebooks; K n_codes; E embedding_dim; e = E / G;
n = B*t*h*w latents.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.quantizers.base import (
  Quantized,
  Quantizer,
  QuantizerConfig,
  perplexity,
)


class CodebookState(nnx.Variable):
  """Learnt without gradients: the optimiser skips it, checkpoints keep it."""


class EMAQuantizer(Quantizer):
  """G codebooks of K vectors; the embedding is split into G groups, one for each codebook.

  Attributes:
    embeddings: float32 [G K e], the codes.
    z_avg: float32 [G K e], moving average of the sum of the latents assigned to each code.
    N: float32 [G K], moving average of the number of latents assigned to each code.
    initialised: bool scalar, whether a batch has been trained on.

  Source: van den Oord et al. 2017, appendix A.1 (moving averages); Dhariwal et al. 2020 (random
  restarts); VideoGPT, table 7 (several codebooks).
  """

  DECAY = 0.99  # of the moving averages, per training step
  COMMITMENT = 0.25  # weight of the commitment loss
  SMOOTHING = 1e-7  # added to counts: an unused code must not divide by zero
  RESTART_BELOW = 1.0  # codes with a lower average count restart at a random latent

  def __init__(self, config: QuantizerConfig, *, rngs: nnx.Rngs):
    super().__init__(config, rngs=rngs)
    shape = self.n_codebooks, self.n_codes, self.code_dim
    embeddings = jax.random.normal(rngs.params(), shape)
    self.embeddings = CodebookState(embeddings)
    self.z_avg = CodebookState(embeddings.copy())
    self.N = CodebookState(jnp.zeros(shape[:2]))
    self.initialised = CodebookState(jnp.zeros((), bool))

  def lookup(self, codes: jax.Array, group: jax.Array | None = None) -> jax.Array:
    if group is not None:
      return self.embeddings[...][group, codes]
    if self.n_codebooks == 1:
      return self.embeddings[0][codes]
    return self.embeddings[...][jnp.arange(self.n_codebooks), codes]

  def nearest(self, z: jax.Array) -> jax.Array:
    """Assigns each latent to its nearest code. Source: van den Oord et al. 2017, eq. 1."""
    codes = nearest_codes(self._groups(z), self.embeddings[...])
    codes = rearrange(
      codes, 'G (B t h w) -> B t h w G', **dict(zip('Bthw', z.shape[:-1], strict=True))
    )
    return codes[..., 0] if self.n_codebooks == 1 else codes

  def __call__(self, z: jax.Array, key: jax.Array | None) -> Quantized:
    """Quantises z; in training the codebook learns from this batch.

    Args:
      z: [B t h w E].
      key: for random restarts in training; None leaves the codebook unchanged.
    Returns:
      losses: `commitment_loss`, 0.25 |z - sg(embeddings)|^2 averaged over all entries.
      statistics: `batch_codebook_perplexity` in [1, K], exp of the entropy of the code frequencies
        in this batch, averaged over codebooks.
    """
    z = z.astype(jnp.float32)
    groups = jax.lax.stop_gradient(self._groups(z))
    if key is not None:
      init_key, key = jax.random.split(key)
      self._initialise(groups, init_key)
    codes = self.nearest(z)
    embeddings = jax.lax.stop_gradient(self.lookup(codes).reshape(z.shape))
    one_hot = jax.nn.one_hot(rearrange(codes, 'B t h w ... -> (...) (B t h w)'), self.n_codes)
    if key is not None:
      self._learn(groups, one_hot, key)
    return Quantized(
      embeddings=z + jax.lax.stop_gradient(embeddings - z),
      codes=codes,
      losses={'commitment_loss': self.COMMITMENT * jnp.mean(jnp.square(z - embeddings))},
      statistics={'batch_codebook_perplexity': perplexity(jnp.mean(one_hot, axis=1))},
    )

  def _groups(self, z: jax.Array) -> jax.Array:
    return rearrange(z.astype(jnp.float32), 'B t h w (G e) -> G (B t h w) e', G=self.n_codebooks)

  def _initialise(self, z: jax.Array, key: jax.Array):
    """Sets the codes to random latents of the first training batch; later calls change nothing."""
    start = random_latents(key, z, self.n_codes)
    done = self.initialised[...]
    self.embeddings[...] = jnp.where(done, self.embeddings[...], start)
    self.z_avg[...] = jnp.where(done, self.z_avg[...], start)
    self.N[...] = jnp.where(done, self.N[...], 1.0)
    self.initialised[...] = jnp.ones((), bool)

  def _learn(self, z: jax.Array, one_hot: jax.Array, key: jax.Array):
    """Moves each code to the mean of its latents; z [G n e], one_hot [G n K].

    Sums run over the batch, which under `jit` is the global one.
    """
    self.N[...] += (1 - self.DECAY) * (one_hot.sum(axis=1) - self.N[...])
    sums = jnp.einsum('gnk,gne->gke', one_hot, z, precision=jax.lax.Precision.HIGHEST)
    self.z_avg[...] += (1 - self.DECAY) * (sums - self.z_avg[...])
    total = self.N[...].sum(axis=1, keepdims=True)
    counts = (self.N[...] + self.SMOOTHING) / (total + self.n_codes * self.SMOOTHING) * total
    used = self.N[...] >= self.RESTART_BELOW
    self.embeddings[...] = jnp.where(
      used[..., None], self.z_avg[...] / counts[..., None], random_latents(key, z, self.n_codes)
    )


def nearest_codes(z: jax.Array, embeddings: jax.Array) -> jax.Array:
  """Returns int32 [G n]: for z [G n e], the index of the closest of embeddings [G K e]."""
  # |z|^2 is the same for every code and is left out.
  distances = jnp.sum(jnp.square(embeddings), axis=-1)[:, None] - 2 * jnp.einsum(
    'gne,gke->gnk', z, embeddings, precision=jax.lax.Precision.HIGHEST
  )
  return jnp.argmin(distances, axis=-1).astype(jnp.int32)


def random_latents(key: jax.Array, z: jax.Array, count: int) -> jax.Array:
  """Draws `count` different latents of z [G n e], others for each codebook: [G count e].

  If n is less than `count`, latents repeat with a little noise, as in the published code.
  """
  order_key, noise_key = jax.random.split(key)
  G, n, e = z.shape
  repeats = -(-count // n)
  if repeats > 1:
    z = jnp.tile(z, (1, repeats, 1))
    z += 0.01 / e**0.5 * jax.random.normal(noise_key, z.shape)
  places = jnp.broadcast_to(jnp.arange(n * repeats), (G, n * repeats))
  chosen = jax.random.permutation(order_key, places, axis=1, independent=True)[:, :count]
  return jnp.take_along_axis(z, chosen[..., None], axis=1)
