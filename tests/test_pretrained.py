"""The models that come with the clone: the very weights, and what they score."""

import numpy as np
import pytest

import videogpt_jax
from videogpt_jax import pixels, shipped
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.scoring import frame_scores

DIGESTS = {
  'doom': '084af4f72d658870142ab1091424c16685db3bf97d9cc2de26b1af27001f6091',
}
"""Of all arrays, by name."""

MEGABYTES = 16
"""What all of them may take."""


@pytest.fixture(scope='module')
def doom():
  return videogpt_jax.load_videogpt('doom'), videogpt_jax.load_starts('doom')


def test_these_models_come_with_the_clone_and_are_small():
  assert shipped.model_names() == sorted(DIGESTS)
  files = [file for name in DIGESTS for file in shipped.model(name).iterdir()]
  assert sum(file.stat().st_size for file in files) < MEGABYTES * 2**20


@pytest.mark.parametrize('name', DIGESTS)
def test_the_weights_are_those_that_were_scored(name):
  assert videogpt_jax.load_videogpt(name).digest == DIGESTS[name]


def test_dooms_tokenizer_keeps_bricks_and_grain(doom):
  model, starts = doom
  codes = model.vqvae.encode(pixels.to_model_range(starts.frames))
  made = pixels.to_uint8(np.asarray(model.vqvae.decode(codes)), clip=True)
  scores = frame_scores(ArrayClips(made), ArrayClips(starts.frames)).estimates()
  assert scores['psnr'].value > 30
  assert scores['sharpness'].value > 0.7


def test_dooms_prior_predicts_codes_and_needs_the_right_actions(doom):
  model, starts = doom
  codes = model.vqvae.encode(pixels.to_model_range(starts.frames))

  def bits(actions):
    logits = model.logits(codes, actions=actions)
    log_p = model.prior.module().factors.log_p(logits, codes)
    return -float(log_p[:, 1:].mean() / np.log(2))  # no action leads to the first frame

  right, others = bits(starts.actions), bits(np.roll(starts.actions, 1, axis=0))
  assert right < 10
  assert others > right + 0.3


def test_doom_is_played_by_the_names_of_its_buttons(doom):
  model, starts = doom
  world = model.play(frames=pixels.to_model_range(starts.frames[:1]), seed=0)
  assert {'MOVE_FORWARD', 'TURN_LEFT', 'TURN_RIGHT'} < set(world.action_names)
  frames = [world.step('MOVE_FORWARD') for _ in range(3)]
  assert all(x.shape == (1, 1, 64, 64, 3) and np.isfinite(x).all() for x in frames)
