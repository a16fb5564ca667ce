"""A codebook of moving averages: nearest codes, data-dependent start, moving averages, restarts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.models.quantizers import EMAQuantizer, QuantizerConfig


def latents(seed=0, shape=(3, 2, 4, 4, 6)):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize('n_codebooks', [1, 2])
def test_nearest_codes_are_the_closest_in_each_group(n_codebooks):
  codebook, z = EMAQuantizer(QuantizerConfig(7, 6, n_codebooks), rngs=nnx.Rngs(0)), latents()
  codes = np.asarray(codebook.nearest(z)).reshape(*z.shape[:-1], n_codebooks)
  groups = np.asarray(z).reshape(*z.shape[:-1], n_codebooks, -1)
  for g in range(n_codebooks):
    distances = np.linalg.norm(groups[..., g, None, :] - codebook.embeddings[g], axis=-1)
    np.testing.assert_array_equal(codes[..., g], distances.argmin(-1))
  assert codebook.lookup(codebook.nearest(z)).size == z.size


def test_first_training_batch_gives_the_codes_and_later_ones_do_not():
  z = latents(0, (1, 2, 3, 4, 6))
  codebook = EMAQuantizer(QuantizerConfig(24, 6, 1), rngs=nnx.Rngs(0))  # as many codes as latents
  commitment_loss = lambda quantized: quantized.losses['commitment_loss']
  assert commitment_loss(codebook(z, None)) > 0.01
  first = codebook(z, jax.random.key(1))
  assert commitment_loss(first) == 0
  assert first.statistics['batch_codebook_perplexity'] == pytest.approx(24, rel=1e-4)
  assert commitment_loss(codebook(latents(5, z.shape), jax.random.key(2))) > 0.01


def test_counts_move_by_one_percent_of_the_batch():
  codebook, z = EMAQuantizer(QuantizerConfig(4, 6, 1), rngs=nnx.Rngs(0)), latents()
  codebook(z, jax.random.key(0))
  n = z.size // 6
  assert codebook.N[...].sum() == pytest.approx(0.99 * 4 + 0.01 * n, rel=1e-5)


def test_unused_codes_restart_at_latents_of_the_batch():
  codebook, z = EMAQuantizer(QuantizerConfig(4, 6, 1), rngs=nnx.Rngs(0)), latents()
  codebook.initialised[...] = jnp.ones((), bool)
  far = codebook.embeddings[...].at[0, 2].set(100.0)  # no latent is near
  codebook.embeddings[...], codebook.N[...] = far, jnp.array([[50.0, 50.0, 0.0, 50.0]])
  codebook(z, jax.random.key(3))
  rows = np.asarray(z).reshape(-1, 6)
  assert np.abs(rows - np.asarray(codebook.embeddings[0, 2])).sum(-1).min() < 1e-5


def test_each_codebook_restarts_at_latents_of_its_own_choice():
  z = jnp.broadcast_to(jnp.arange(96.0).reshape(1, 2, 6, 8, 1), (1, 2, 6, 8, 4))
  codebook = EMAQuantizer(QuantizerConfig(24, 4, 2), rngs=nnx.Rngs(0))
  codebook(z, jax.random.key(1))
  chosen = np.asarray(codebook.z_avg[..., 0])
  assert all(len(set(book)) == 24 for book in chosen) and (chosen[0] != chosen[1]).mean() > 0.5


def test_perplexity_is_the_mean_over_codebooks():
  z = latents(0, (1, 2, 3, 4, 6)).at[..., 3:].set(0.0)  # the second codebook has one value to code
  codebook = EMAQuantizer(QuantizerConfig(24, 6, 2), rngs=nnx.Rngs(0))
  perplexity = codebook(z, jax.random.key(1)).statistics['batch_codebook_perplexity']
  assert perplexity == pytest.approx((24 + 1) / 2, rel=1e-4)


def test_more_codes_than_latents_start_with_noise_and_differ():
  codebook = EMAQuantizer(QuantizerConfig(40, 6, 1), rngs=nnx.Rngs(0))
  codebook(latents(0, (1, 2, 2, 2, 6)), jax.random.key(1))
  assert len(np.unique(np.asarray(codebook.z_avg[0]), axis=0)) == 40


def test_gradients_pass_straight_through():
  codebook, z = EMAQuantizer(QuantizerConfig(7, 6, 1), rngs=nnx.Rngs(0)), latents()
  weights = latents(9)
  grads = jax.grad(lambda z: jnp.vdot(codebook(z, None).embeddings, weights))(z)
  np.testing.assert_allclose(grads, weights, atol=1e-6)


def test_groups_that_do_not_divide_are_refused():
  with pytest.raises(UserError, match=r'embedding_dim \(6\) must be divisible by n_codebooks'):
    EMAQuantizer(QuantizerConfig(4, 6, 4), rngs=nnx.Rngs(0))


def test_every_product_is_at_the_highest_precision():
  """A TPU's default, bfloat16, would round distances, and the sums that codes are means of."""
  graphdef, state = nnx.split(EMAQuantizer(QuantizerConfig(7, 6, 2), rngs=nnx.Rngs(0)))

  def train(state, z, key):
    codebook = nnx.merge(graphdef, state)
    return codebook(z, key), nnx.state(codebook)

  text = str(jax.make_jaxpr(train)(state, latents(), jax.random.key(0)))
  products = text.count('dot_general[')
  assert products == 2  # distances and sums
  assert text.count('precision=(Precision.HIGHEST, Precision.HIGHEST)') == products


@pytest.mark.parametrize('n_codebooks', [1, 2])
def test_codes_are_looked_up_one_at_a_time_by_their_codebook(n_codebooks):
  codebook, z = EMAQuantizer(QuantizerConfig(7, 6, n_codebooks), rngs=nnx.Rngs(0)), latents()
  whole = codebook.lookup(codebook.nearest(z)).reshape(3, -1, codebook.code_dim)
  codes = codebook.nearest(z).reshape(3, -1)
  group = jnp.arange(codes.shape[1]) % n_codebooks
  np.testing.assert_array_equal(codebook.lookup(codes, group), whole)
  rows = jnp.broadcast_to(group, codes.shape)
  np.testing.assert_array_equal(codebook.lookup(codes, rows), whole)
  np.testing.assert_array_equal(codebook.vectors(), codebook.embeddings[...])
