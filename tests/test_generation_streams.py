"""Longer videos of a causal tokenizer: one stream of codes, nothing encoded again, no seam."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.test_streaming import CAUSAL
from videogpt_jax import UserError, VideoGPT, programs
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.sharding import MeshConfig, make_mesh


def videogpt(alone, history=2, **changes):
  """Four latent frames a clip, of two frames each; codes 4 x 2 x 2."""
  sizes = {'n_codes': 7, 'embedding_dim': 5, 'downsample': (2, 4, 4), 'first_frame_alone': alone}
  config = VQVAEConfig(**(CAUSAL | sizes | changes))
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), config.time_grid.frames(4), 8)
  sizes = {'hidden_dim': 16, 'n_heads': 4, 'n_layers': 1, 'resnet_dim': 8, 'resnet_depth': 18}
  conditions = {'action_dim': 2, 'n_cond_frames': 1}
  prior = Prior(
    PriorConfig(history=history, **sizes, **conditions), tokenizer.spec, rngs=nnx.Rngs(1)
  )
  random = jax.random.normal(jax.random.key(2), prior.fc_out.kernel.shape)
  prior.fc_out.kernel[...] = 0.3 * random
  return VideoGPT(tokenizer, trained(prior), prior.config)


@pytest.fixture(
  scope='module',
  params=[pytest.param(False, marks=pytest.mark.slow), True],
  ids=['all', 'first alone'],
)
def gpt(request):
  return videogpt(request.param)


RNG = np.random.default_rng(0)
ACTIONS = RNG.normal(size=(10, 40, 2)).astype(np.float32)
FRAMES = RNG.uniform(-0.5, 0.5, (10, 12, 8, 8, 3)).astype(np.float32)


def as_stream(codes):
  """The codes of clips int32 [n clips 4 h w] that share two latent frames each."""
  return np.concatenate([codes[:, 0], *(clip[:, 2:] for clip in np.moveaxis(codes, 1, 0)[1:])], 1)


def decoded(gpt, codes):
  video = np.concatenate(list(gpt.vqvae.decode_stream(codes)), axis=1)
  return np.clip(video, -0.5, 0.5) + 0.5


def test_a_longer_video_is_one_stream_of_codes(gpt):

  def generate(num_frames):
    conditions = {'actions': ACTIONS[:, :num_frames], 'frames': FRAMES[:, :1]}
    return gpt.generate(gpt.request(10, seed=3, num_frames=num_frames, **conditions))

  made = generate(15)  # ten videos: more than go through the decoder at once
  assert made.video.shape[:2] == (10, 15) and made.codes.shape == (10, 3, 4, 2, 2)
  np.testing.assert_array_equal(made.codes[:, 1:, :2], made.codes[:, :-1, 2:])
  np.testing.assert_allclose(made.video, decoded(gpt, as_stream(made.codes))[:, :15], atol=1e-5)
  # Each clip is drawn from its first codes, first frames and actions.
  start = 2 * 2
  t = gpt.vqvae.spec.sequence_length
  conditions = {
    'actions': ACTIONS[:, start : start + t],
    'frames': made.video[:, start : start + 1] - np.float32(0.5),
  }
  logits = gpt.logits(made.codes[:, 1], conditions=conditions)
  log_p = np.take_along_axis(jax.nn.log_softmax(logits), made.codes[:, 1, ..., None], -1)
  drawn = generate(t + 4).log_likelihood - generate(t).log_likelihood
  np.testing.assert_allclose(drawn, log_p[:, 2:].sum((1, 2, 3, 4)), rtol=1e-3)


def test_a_continued_video_begins_with_its_frames_and_goes_on_with_their_codes(gpt):
  n = gpt.vqvae.spec.frames(2)
  made = gpt.generate(gpt.request(10, continue_from=FRAMES, num_frames=13, actions=ACTIONS[:, :13]))
  np.testing.assert_array_equal(made.video[:, :n], FRAMES[:, -n:] + np.float32(0.5))
  codes = gpt.vqvae.encode(FRAMES[:, -n:])
  np.testing.assert_array_equal(made.codes[:, 0, :2], codes)
  expected = decoded(gpt, as_stream(made.codes))[:, n:13]
  np.testing.assert_allclose(made.video[:, n:], expected, atol=1e-5)


def test_nothing_is_encoded_again_and_all_is_compiled_beforehand(monkeypatch, caplog):
  gpt = videogpt(True)
  request = gpt.request(3, num_frames=14, actions=ACTIONS[:3, :14], frames=FRAMES[:3, :1])
  gpt.compile(request)
  monkeypatch.setattr(programs, 'encode', None)
  with jax.log_compiles(), caplog.at_level('WARNING'):
    gpt.generate(request)
  assert not [r for r in caplog.records if r.getMessage().startswith('Compiling jit(run)')]


@pytest.mark.slow
def test_eight_devices_make_the_stream_of_one():
  gpt = videogpt(True)
  request = gpt.request(10, num_frames=12, actions=ACTIONS[:, :12], frames=FRAMES[:, :1])
  alone = gpt.generate(request)
  shared = gpt.on_mesh(make_mesh(MeshConfig(data=4, tensor=2))).generate(request)
  np.testing.assert_array_equal(alone.codes, shared.codes)
  np.testing.assert_allclose(alone.video, shared.video, atol=1e-4)


def test_a_tokenizer_that_looks_ahead_is_refused():
  gpt = videogpt(False, time_padding='same')
  with pytest.raises(UserError, match=r"cannot take a video in pieces.*time_padding is 'same'"):
    gpt.sample(1, actions=ACTIONS[:1, :8], frames=FRAMES[:1, :1])


def test_without_history_clips_are_encoded_again():
  gpt = videogpt(False, history=0)
  made = gpt.generate(
    gpt.request(2, num_frames=12, actions=ACTIONS[:2, :12], frames=FRAMES[:2, :1])
  )
  assert (made.codes[:, 1, :2] != made.codes[:, 0, 2:]).any()
