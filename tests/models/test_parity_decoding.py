"""Forward, prefill and decoding agree, and give the published logits, codes and videos."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from tests.goldens.golden import Golden, conditions_of, models_of, prior_of, relative_error
from videogpt_jax.models.code_factors import CodeFactors
from videogpt_jax.sampling.forward import Decoded
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.sequential import decode
from videogpt_jax.stages.train_prior import nats_per_code

FRAMES_ALONE = pytest.param('gpt_frame', marks=pytest.mark.slow)
NAMES = ['gpt_uncond', 'gpt_class', FRAMES_ALONE, 'gpt_class_frame', 'gpt_sparse']


class Results(NamedTuple):
  """Logits of the forward and of decoding, for the recorded and the greedy codes; a video."""

  golden: Golden
  factors: CodeFactors
  memory: jax.Array | None
  forward: jax.Array
  prefilled: Decoded
  greedy: Decoded
  greedy_forward: jax.Array
  video: jax.Array


@functools.cache
def decoded(name) -> Results:
  golden = Golden(name)
  vqvae, prior = models_of(prior_of(golden))
  codes, config = golden['in/encodings'], prior.config
  conditions = conditions_of(golden, config)

  @jax.jit
  def run(codes):
    condition = prior.condition(conditions)
    keys = jax.random.split(jax.random.key(0), codes.shape[0])
    controls, lookup = Controls(temperature=None), vqvae.codebook.lookup
    given = codes.reshape(codes.shape[0], -1)
    prefilled = decode(prior, lookup, condition, keys, controls, given, with_logits=True)
    greedy = decode(prior, lookup, condition, keys, controls, with_logits=True)
    forward, greedy_forward = (
      prior(vqvae.codebook.lookup(c), condition) for c in (codes, greedy.codes)
    )
    video = vqvae.decode(greedy.codes)
    return condition.memory, forward, prefilled, greedy, greedy_forward, video

  results = Results(golden, prior.factors, *run(codes))
  np.testing.assert_array_equal(results.prefilled.codes, codes)
  return results


@pytest.mark.parametrize('name', NAMES)
class TestDecoding:
  def test_prefilled_logits(self, name):
    results = decoded(name)
    assert relative_error(results.prefilled.logits, results.golden['decode/logits']) < 1e-4

  def test_logits_equal_those_of_the_forward_at_every_position(self, name):
    results = decoded(name)
    assert relative_error(results.prefilled.logits, results.forward) < 1e-4
    assert relative_error(results.greedy.logits, results.greedy_forward) < 1e-4

  def test_log_likelihood_is_that_of_the_forward(self, name):
    results = decoded(name)
    codes = results.greedy.codes
    nats = nats_per_code(results.factors, results.greedy_forward, codes) * codes[0].size
    np.testing.assert_allclose(results.greedy.log_likelihood, -nats, 1e-5)

  def test_greedy_codes_and_video(self, name):
    results = decoded(name)
    np.testing.assert_array_equal(results.greedy.codes, results.golden['greedy/encodings'])
    in_unit_range = np.clip(results.video, -0.5, 0.5) + 0.5
    assert np.abs(in_unit_range - results.golden.video('greedy/video')).max() < 1e-3


@pytest.mark.parametrize('name', NAMES[:-1])  # the published sparse forward needs DeepSpeed
def test_logits_of_the_forward(name):
  results = decoded(name)
  assert relative_error(results.forward, results.golden['eval/logits']) < 1e-4


@pytest.mark.parametrize('name', [FRAMES_ALONE, 'gpt_class_frame'])
def test_memory_of_the_conditioning_frames(name):
  results = decoded(name)
  recorded = results.golden['eval/frame_cond']
  assert relative_error(results.memory.reshape(recorded.shape), recorded) < 1e-4
