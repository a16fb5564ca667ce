"""The models that come with the clone: the very weights, and what they score."""

import numpy as np
import pytest

import videogpt_jax
from videogpt_jax import pixels, shipped
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.scoring import frame_scores

DIGESTS = {
  'digits': 'f9a31e889efa82ed1278b47041b18111bd269e30a9a4fa0a700e733f4b233464',
  'doom': '084af4f72d658870142ab1091424c16685db3bf97d9cc2de26b1af27001f6091',
}
"""Of all arrays, by name."""

STRATEGIES = ('sequential', 'speculative')

MEGABYTES = 16
"""What all of them may take."""


@pytest.fixture(scope='module')
def digits():
  return videogpt_jax.load_videogpt('digits'), videogpt_jax.load_starts('digits')


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


@pytest.mark.parametrize(('name', 'psnr', 'sharpness'), [('digits', 25, 0.9), ('doom', 30, 0.7)])
def test_a_tokenizer_keeps_strokes_bricks_and_grain(name, psnr, sharpness, request):
  model, starts = request.getfixturevalue(name)
  codes = model.vqvae.encode(pixels.to_model_range(starts.frames))
  made = pixels.to_uint8(np.asarray(model.vqvae.decode(codes)), clip=True)
  scores = frame_scores(ArrayClips(made), ArrayClips(starts.frames)).estimates()
  assert scores['psnr'].value > psnr
  assert scores['sharpness'].value > sharpness


@pytest.mark.parametrize(
  ('name', 'condition', 'bits', 'worse'),
  [('digits', 'class_label', 2.6, 0.1), ('doom', 'actions', 10, 0.3)],
)
def test_a_prior_predicts_codes_and_needs_the_right_condition(
  name, condition, bits, worse, request
):
  model, starts = request.getfixturevalue(name)
  codes, given = (
    model.vqvae.encode(pixels.to_model_range(starts.frames)),
    getattr(starts, condition),
  )

  def bits_under(values):
    logits = model.logits(codes, **{condition: values})
    log_p = model.prior.module().factors.log_p(logits, codes)
    return -float(log_p[:, 1:].mean() / np.log(2))  # no action leads to the first frame

  right = bits_under(given)
  assert right < bits
  assert bits_under(np.roll(given, 1, axis=0)) > right + worse


@pytest.mark.parametrize(('name', 'passes'), [('digits', 90), ('doom', 365)])
def test_speculation_draws_the_same_videos_in_so_many_passes(name, passes, request):
  """A guard: so few were counted when the weights were made, with a tenth to spare."""
  model, starts = request.getfixturevalue(name)
  ask = {'seed': 1, 'conditions': starts.conditions(4, model.config)}
  drawn = {how: model.generate(model.request(4, strategy=how, **ask)) for how in STRATEGIES}
  alike = [drawn[how].codes == drawn['sequential'].codes for how in STRATEGIES]
  assert np.mean(alike) > 0.999
  assert drawn['speculative'].passes.mean() < passes


def test_digits_are_played_without_actions(digits):
  model, starts = digits
  world = model.play(pixels.to_model_range(starts.frames[:1]), 0, class_label=starts.class_label[0])
  frames = np.concatenate([world.step() for _ in range(6)], axis=1)
  assert frames.shape == (1, 24, 32, 32, 3) and world.action_names == ()
  assert (frames.reshape(24, -1).max(axis=1) > 0.7).all()  # there is a digit in each


def test_doom_is_played_by_the_names_of_its_buttons(doom):
  model, starts = doom
  world = model.play(frames=pixels.to_model_range(starts.frames[:1]), seed=0)
  assert {'MOVE_FORWARD', 'TURN_LEFT', 'TURN_RIGHT'} < set(world.action_names)
  frames = [world.step('MOVE_FORWARD') for _ in range(3)]
  assert all(x.shape == (1, 1, 64, 64, 3) and np.isfinite(x).all() for x in frames)
