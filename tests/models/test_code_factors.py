"""Factors of codes: likelihoods, draws, and priors over vocabularies of up to 2^18."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import SIZES
from videogpt_jax.errors import UserError
from videogpt_jax.models.code_factors import CodeFactors, code_factors
from videogpt_jax.models.digits import from_digits, to_digits
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling.logits import Controls


@pytest.mark.parametrize(
  ('n_factors', 'digits', 'sizes'),
  [
    (0, (2048,), (2048,)),
    (0, (2**18,), (2**18,)),  # a codebook has no parts
    (0, (2,) * 14, (2**14,)),
    (0, (2,) * 18, (512, 512)),
    (3, (2,) * 18, (64, 64, 64)),
    (0, (8, 8, 8, 5, 5, 5), (512, 125)),
    (2, (3, 5, 4), (15, 4)),
  ],
)
def test_factors_are_groups_of_digits(n_factors, digits, sizes):
  assert code_factors(n_factors, digits).sizes == sizes


def test_more_factors_than_digits_are_refused():
  with pytest.raises(UserError, match=r'prior.n_factors \(2\) must be at most 1'):
    code_factors(2, (2048,))


def test_digits_and_codes_are_inverse():
  codes = jnp.arange(60)
  digits = to_digits(codes, (3, 5, 4))
  assert [tuple(d) for d in np.asarray(digits)] == [
    (a, b, c) for c, b, a in itertools.product(range(4), range(5), range(3))
  ]
  np.testing.assert_array_equal(from_digits(digits, (3, 5, 4)), codes)


def test_the_likelihoods_of_all_codes_sum_to_one_and_are_products():
  factors, logits = CodeFactors((3, 4)), jax.random.normal(jax.random.key(0), (7,))
  p = np.exp([factors.log_p(logits, jnp.asarray(code)) for code in range(12)])
  assert p.sum() == pytest.approx(1, rel=1e-5)
  first, second = jax.nn.softmax(logits[:3]), jax.nn.softmax(logits[3:])
  np.testing.assert_allclose(p, np.outer(second, first).ravel(), rtol=1e-5)


def test_draws_have_the_likelihoods_as_frequencies():
  factors, logits = CodeFactors((3, 4)), jax.random.normal(jax.random.key(0), (7,))
  keys = jax.random.split(jax.random.key(1), 20_000)
  drawn = factors.draw(Controls().draw, jnp.tile(logits, (len(keys), 1)), keys)
  frequencies = np.bincount(drawn, minlength=12) / len(keys)
  p = np.exp([factors.log_p(logits, jnp.asarray(code)) for code in range(12)])
  np.testing.assert_allclose(frequencies, p, atol=4 * np.sqrt(p.max() / len(keys)))


def test_top_k_above_a_factors_size_keeps_all_of_it():
  logits = jax.random.normal(jax.random.key(0), (2, 4))
  np.testing.assert_array_equal(Controls(top_k=9).filter(logits), logits)
  assert (np.asarray(Controls(top_k=2).filter(logits)) > -np.inf).sum() == 4


def test_a_prior_over_2_to_the_18_has_1024_logits():
  spec = CodeSpec((2, 3, 4), 2**18, 18, sequence_length=6, resolution=8, digits=(2,) * 18)
  prior = nnx.eval_shape(lambda: Prior(PriorConfig(**SIZES), spec, rngs=nnx.Rngs(0)))
  assert prior.fc_out.kernel.shape == (24, 1024)
