"""Incremental decoding gives the published logits, codes and videos, and equals the forward."""

import functools

import jax
import numpy as np
import pytest

from tests.goldens.golden import Golden, models_of, prior_of, relative_error
from videogpt_jax.sampling.controls import make_controls
from videogpt_jax.sampling.loop import decode

NAMES = ['gpt_uncond', 'gpt_class', 'gpt_frame', 'gpt_class_frame', 'gpt_sparse']


@functools.cache
def decoded(name):
  """Logits of the forward and of decoding, teacher forced; greedy codes and their video."""
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
    return forward, out.logits, out.codes, out.log_likelihood, vqvae.decode(out.codes)

  forward, forced, same, log_likelihood, _ = run(codes, codes[0].size)
  _, _, greedy, _, video = run(codes, 0)
  np.testing.assert_array_equal(same, codes)
  return golden, forward, forced, log_likelihood, greedy, video


@pytest.mark.parametrize('name', NAMES)
class TestDecoding:
  def test_logits(self, name):
    golden, _, forced, *_ = decoded(name)
    assert relative_error(forced, golden['decode/logits']) < 1e-4

  def test_logits_equal_those_of_the_forward_at_every_position(self, name):
    _, forward, forced, *_ = decoded(name)
    assert relative_error(forced, forward) < 1e-4

  def test_log_likelihood_is_that_of_the_forward(self, name):
    golden, forward, _, log_likelihood, *_ = decoded(name)
    codes = golden['in/encodings'][..., None]
    log_p = np.take_along_axis(np.asarray(jax.nn.log_softmax(forward)), codes, axis=-1)
    np.testing.assert_allclose(log_likelihood, log_p.sum(axis=(1, 2, 3, 4)), 1e-5)

  def test_greedy_codes_and_video(self, name):
    golden, *_, greedy, video = decoded(name)
    np.testing.assert_array_equal(greedy, golden['greedy/encodings'])
    in_unit_range = np.clip(video, -0.5, 0.5) + 0.5
    assert np.abs(in_unit_range - golden.video('greedy/video')).max() < 1e-3
