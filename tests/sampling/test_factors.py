"""Priors whose codes have several factors: both strategies, guidance, given codes, vocabularies."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.test_prior import SIZES
from tests.test_generation import videogpt
from videogpt_jax.errors import UserError
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.quantizers import QUANTIZERS, QuantizerConfig
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import sequential, speculative
from videogpt_jax.sampling.logits import Controls

BITS = 18
SPEC = CodeSpec((2, 2, 3), 2**BITS, BITS, sequence_length=4, resolution=8, digits=(2,) * BITS)
LFQ = QUANTIZERS['lfq'](QuantizerConfig(2**BITS, BITS), rngs=nnx.Rngs(0))


def prior_and_condition():
  config = PriorConfig(**SIZES, n_classes=3)
  prior = Prior(config, SPEC, rngs=nnx.Rngs(0))
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  return prior, prior.condition({'class_label': jnp.array([0, 2])})


def run(strategy, prior, condition, controls, given=None):
  keys = jax.random.split(jax.random.key(0), 2)
  return jax.jit(
    lambda keys: strategy.decode(
      prior, LFQ.lookup, condition, keys, controls, given, with_logits=True
    )
  )(keys)


@pytest.mark.parametrize('controls', [Controls(0.9, top_k=300, top_p=0.95), Controls(guidance=2.0)])
def test_codes_of_2_to_the_18_are_drawn_as_the_forward_predicts_them(controls):
  prior, condition = prior_and_condition()
  given = jax.random.randint(jax.random.key(2), (2, 4), 0, 2**BITS)
  one = run(sequential, prior, condition, controls, given)
  codes = one.codes.reshape(2, -1)
  np.testing.assert_array_equal(codes[:, :4], given)
  assert one.logits.shape == (2, *SPEC.latent_shape, 1024) and codes.max() >= 512
  expected = jax.jit(prior)(LFQ.lookup(one.codes), condition)
  np.testing.assert_allclose(one.logits, expected, atol=1e-4 * np.abs(expected).max())
  log_p = prior.factors.log_p(expected, one.codes).reshape(2, -1)[:, 4:].sum(1)
  np.testing.assert_allclose(one.log_likelihood, log_p, rtol=1e-4)
  other = run(speculative, prior, condition, controls, given)
  np.testing.assert_array_equal(one.codes, other.codes)
  np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-4)


def test_guidance_moves_the_logits_of_every_factor():
  prior, condition = prior_and_condition()
  greedy = run(sequential, prior, condition, Controls(temperature=None, guidance=2.5))
  null = jax.tree.map(jnp.zeros_like, condition)
  with_it, without = (jax.jit(prior)(LFQ.lookup(greedy.codes), c) for c in (condition, null))
  low, high = jnp.split(without + 2.5 * (with_it - without), 2, axis=-1)
  np.testing.assert_array_equal(greedy.codes, low.argmax(-1) + 512 * high.argmax(-1))


def test_a_prior_of_another_vocabulary_is_refused_in_one_line():
  gpt = videogpt()
  spec = dataclasses.replace(gpt.vqvae.spec, n_codes=9, digits=(9,))
  prior = trained(Prior(gpt.config, spec, rngs=nnx.Rngs(0)))
  other = dataclasses.replace(gpt, prior=prior)
  message = r'^the prior models codes \(3, 2, 4\) of 9 values, and the tokenizer makes .* of 7; .*$'
  codes = np.zeros((1, 3, 2, 4), np.int32)
  for call in (lambda: other.sample(1), lambda: other.logits(codes)):
    with pytest.raises(UserError, match=message):
      call()
