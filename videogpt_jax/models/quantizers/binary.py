"""Binary quantizers: the bits of a code are the signs of a latent.

Axis letters: n latents; e bits of a code.
"""

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.models.quantizers.base import QuantizerConfig
from videogpt_jax.models.quantizers.grid import GridQuantizer

JOINT_BITS = 18
"""Bits whose joint distribution the entropy of the batch counts, at most.

The sum over groups of bits is an upper bound of the whole's entropy with the same maximum, all
codes alike. It does not see groups that copy one another, though: with groups of 6 bits, 12 bits
came to a perplexity of 62, and their entropy was called 92 % of its maximum.
Source: Zhao et al. 2024, section 4 (the entropy of the average, taken apart).
"""


class LFQQuantizer(GridQuantizer):
  """Lookup-free quantization: bit i of a code is whether z_i > 0, and its vector has +1 or -1.

  A soft assignment q(c | z), proportional to exp(-|z - c|^2 / TEMPERATURE), is a product over bits:
  q(c_i = 1 | z) = sigmoid(4 z_i / TEMPERATURE). Its entropies, in nats, make the loss

    entropy_weight (E[H(q(z))] - H(E[q(z)]))

  beside the commitment loss COMMITMENT |z - sg(c)|^2, averaged over all entries.

  Source: Yu et al. 2023 (MAGVIT-v2, arXiv 2310.05737), section 3.1: its equations of q(z), of
  Index(z) and of the entropy penalty. The paper states no temperature.
  """

  COMMITMENT = 0.25  # weight of the commitment loss, as in van den Oord et al. 2017
  TEMPERATURE = 1.0

  @classmethod
  def check(cls, config: QuantizerConfig):
    super().check(config)
    if config.code_dim > 24:
      raise UserError(
        f'vqvae.embedding_dim ({config.embedding_dim}) makes {config.code_dim} bits a code, and 24 '
        'are the most; lower it, or raise vqvae.n_codebooks'
      )
    if config.n_codes != 2**config.code_dim:
      raise UserError(
        f'vqvae.n_codes ({config.n_codes}) must be 2^{config.code_dim} = {2**config.code_dim}, a '
        f'bit for each of the {config.code_dim} entries of a code (embedding_dim / n_codebooks)'
      )
    if config.entropy_weight < 0:
      raise UserError(f'vqvae.entropy_weight ({config.entropy_weight}) must be 0 or more')

  @classmethod
  def digits(cls, config: QuantizerConfig) -> tuple[int, ...]:
    return (2,) * config.code_dim

  def bound(self, z: jax.Array) -> jax.Array:
    return z

  def steps(self, bounded: jax.Array) -> jax.Array:
    return (bounded > 0).astype(jnp.int32)

  def values(self, steps: jax.Array) -> jax.Array:
    return 2 * steps.astype(jnp.float32) - 1

  def bit_logits(self, bounded: jax.Array) -> jax.Array:
    """Returns log q(c_i = 1) - log q(c_i = 0), float32 [n e]."""
    return 4 / self.TEMPERATURE * bounded

  def terms(self, bounded: jax.Array, values: jax.Array):
    logits = self.bit_logits(bounded)
    each, batch = jnp.mean(entropy_of_bits(logits)), entropy_of_average(logits)
    error = jnp.mean(jnp.square(bounded - jax.lax.stop_gradient(values)))
    losses = {
      'commitment_loss': self.COMMITMENT * error,
      'entropy_loss': self.config.entropy_weight * (each - batch),
    }
    return losses, {'code_entropy': each, 'batch_entropy': batch}


class BSQQuantizer(LFQQuantizer):
  """Binary spherical quantization: latents u = z / |z| and vectors c = sign(u) / sqrt(e).

  The soft assignment q(c | u) is proportional to exp(INVERSE_TEMPERATURE c.u), so that
  q(c_i = 1 | u) = sigmoid(2 INVERSE_TEMPERATURE u_i / sqrt(e)). The losses are those of LFQ.

  Source: Zhao et al. 2024 (arXiv 2406.07548), section 4: its definitions of u and of its
  quantization, the soft quantization and the factorised entropies.
  """

  INVERSE_TEMPERATURE = 100.0
  EPSILON = 1e-12  # added to |z|^2: a latent of zeros must not divide by zero

  def bound(self, z: jax.Array) -> jax.Array:
    return z * jax.lax.rsqrt(jnp.sum(jnp.square(z), axis=-1, keepdims=True) + self.EPSILON)

  def values(self, steps: jax.Array) -> jax.Array:
    return super().values(steps) * self.code_dim**-0.5

  def bit_logits(self, bounded: jax.Array) -> jax.Array:
    return 2 * self.INVERSE_TEMPERATURE * self.code_dim**-0.5 * bounded


def entropy_of_bits(logits: jax.Array) -> jax.Array:
  """Returns the entropy of independent bits, float32 [n] nats, of their logits [n e]."""
  return jnp.sum(jax.nn.softplus(logits) - logits * jax.nn.sigmoid(logits), axis=-1)


def entropy_of_average(logits: jax.Array) -> jax.Array:
  """Returns the entropy of codes whose distributions are averaged over n latents, in nats.

  Exact up to JOINT_BITS bits; of more, the sum over groups of them. A latent's bits are
  independent, so that the average over latents is a matrix product of two halves of the bits.

  Args:
    logits: float32 [n e], of the bits of each latent.
  """
  n, e = logits.shape
  total = jnp.zeros(())
  for group in np.array_split(np.arange(e), -(-e // JOINT_BITS)):
    low, high = (joint_of_bits(logits[:, half]) for half in np.array_split(group, 2))
    average = jnp.einsum('nl,nh->lh', low, high, precision=jax.lax.Precision.HIGHEST) / n
    total -= jnp.sum(average * jnp.log(average + 1e-10))
  return total


def joint_of_bits(logits: jax.Array) -> jax.Array:
  """Returns the distribution over the codes of independent bits, [n 2^e], of logits [n e]."""
  joint = jnp.ones((len(logits), 1))
  for bit in range(logits.shape[1]):
    off, on = (jax.nn.sigmoid(sign * logits[:, bit : bit + 1]) for sign in (-1, 1))
    joint = jnp.concatenate([joint * off, joint * on], axis=1)
  return joint
