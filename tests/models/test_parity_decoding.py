"""Forward and incremental decoding agree, and give the published logits, codes and videos."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from tests.goldens.golden import Golden, models_of, prior_of, relative_error
from videogpt_jax.sampling.controls import make_controls
from videogpt_jax.sampling.loop import Decoded, decode
from videogpt_jax.stages.train_prior import nats_per_code

NAMES = ['gpt_uncond', 'gpt_class', 'gpt_frame', 'gpt_class_frame', 'gpt_sparse']


class Results(NamedTuple):
  """Of the forward; of decoding, teacher forced and greedy; and the greedy video."""

  golden: Golden
  memory: jax.Array | None
  forward: jax.Array
  forced: Decoded
  greedy: Decoded
  video: jax.Array


@functools.cache
def decoded(name) -> Results:
  golden = Golden(name)
  vqvae, prior = models_of(prior_of(golden))
  codes, config = golden['in/encodings'], prior.config
  label = golden['in/label'] if config.n_classes else None
  frames = golden.video('in/video')[:, : config.n_cond_frames] if config.n_cond_frames else None

  @jax.jit
  def run(codes, n_given):
    condition = prior.condition(label, frames)
    keys = jax.random.split(jax.random.key(0), codes.shape[0])
    greedy = make_controls(prior.codes.n_codes, temperature=0)
    embeddings = vqvae.codebook.embeddings[...]
    out = decode(prior, embeddings, condition, keys, greedy, codes, n_given, with_logits=True)
    forward = prior(vqvae.codebook.lookup(codes), condition)
    return condition.memory, forward, out, vqvae.decode(out.codes)

  memory, forward, forced, _ = run(codes, codes[0].size)
  _, _, greedy, video = run(codes, 0)
  np.testing.assert_array_equal(forced.codes, codes)
  return Results(golden, memory, forward, forced, greedy, video)


@pytest.mark.parametrize('name', NAMES)
class TestDecoding:
  def test_logits(self, name):
    results = decoded(name)
    assert relative_error(results.forced.logits, results.golden['decode/logits']) < 1e-4

  def test_logits_equal_those_of_the_forward_at_every_position(self, name):
    results = decoded(name)
    assert relative_error(results.forced.logits, results.forward) < 1e-4

  def test_log_likelihood_is_that_of_the_forward(self, name):
    results = decoded(name)
    codes = results.golden['in/encodings']
    nats = nats_per_code(results.forward, codes) * codes[0].size
    np.testing.assert_allclose(results.forced.log_likelihood, -nats, 1e-5)

  def test_greedy_codes_and_video(self, name):
    results = decoded(name)
    np.testing.assert_array_equal(results.greedy.codes, results.golden['greedy/encodings'])
    in_unit_range = np.clip(results.video, -0.5, 0.5) + 0.5
    assert np.abs(in_unit_range - results.golden.video('greedy/video')).max() < 1e-3


@pytest.mark.parametrize('name', NAMES[:-1])  # the published sparse forward needs DeepSpeed
def test_logits_of_the_forward(name):
  results = decoded(name)
  assert relative_error(results.forward, results.golden['eval/logits']) < 1e-4


@pytest.mark.parametrize('name', ['gpt_frame', 'gpt_class_frame'])
def test_memory_of_the_conditioning_frames(name):
  results = decoded(name)
  recorded = results.golden['eval/frame_cond']
  assert relative_error(results.memory.reshape(recorded.shape), recorded) < 1e-4
