"""How many codes of a clip are masked, and which: for priors that predict masked codes.

Axis letters: B clips; L codes of a clip.
"""

import jax
import jax.numpy as jnp


def cosine_share(progress: jax.Array) -> jax.Array:
  """Returns the share of codes that are masked: 1 at the beginning (0), 0 at the end (1).

  Source: Chang et al. 2022 (MaskGIT, arXiv 2202.04200), section 3.3.
  """
  return jnp.cos(jnp.pi / 2 * progress)


def training_counts(key: jax.Array, n: int, length: int) -> jax.Array:
  """Draws how many codes of each clip are masked in training, int32 [n] in [1, L]."""
  progress = jax.random.uniform(key, (n,))
  return jnp.ceil(cosine_share(progress) * length).astype(jnp.int32).clip(1, length)


def scoring_counts(n_looks: int, length: int) -> jax.Array:
  """Returns how many codes are masked in each look at a clip, int32 [n_looks].

  They are evenly spaced in [1, L]. The mean cross-entropy over uniform counts is that of the clip
  under the prior, averaged over the orders in which its codes can be drawn one at a time.

  Source: Hoogeboom et al. 2022 (arXiv 2110.02037), eq. 4.
  """
  middles = (jnp.arange(n_looks) + 0.5) / n_looks
  return jnp.ceil(middles * length).astype(jnp.int32)


def choose(key: jax.Array, counts: jax.Array, length: int) -> jax.Array:
  """Chooses which codes are masked, bool [B L]: `counts` [B] of each clip, all equally likely."""
  rank = jnp.argsort(jnp.argsort(jax.random.uniform(key, (len(counts), length)), axis=-1), axis=-1)
  return rank < counts[:, None]
