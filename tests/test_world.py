"""Worlds: rollouts that go on, answer actions, and repeat from a seed and a log of actions."""

import jax
import numpy as np
import pytest
from flax import nnx

from tests.test_generation_streams import CAUSAL
from videogpt_jax import UserError, VideoGPT
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import trained
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.tokenizer import make_tokenizer
from videogpt_jax.training.sharding import MeshConfig, make_mesh

NAMES = ('NOTHING', 'LEFT', 'RIGHT')
PLAYS = {'attn_type': 'window', 'attn_window': 2, 'positions': 'rotary'}


def videogpt(alone=False, tokenizer=(), **changes):
  """Four latent frames a clip, of two frames each; codes 4 x 2 x 2."""
  sizes = {'n_codes': 7, 'embedding_dim': 5, 'downsample': (2, 4, 4), 'first_frame_alone': alone}
  config = VQVAEConfig(**(CAUSAL | sizes | dict(tokenizer)))
  tokenizer = make_tokenizer(VQVAE(config, rngs=nnx.Rngs(0)), config.time_grid.frames(4), 8)
  sizes = {'hidden_dim': 24, 'n_heads': 2, 'n_layers': 2, 'action_dim': 3}
  prior = Prior(PriorConfig(**(sizes | PLAYS | changes)), tokenizer.spec, rngs=nnx.Rngs(1))
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(2), prior.fc_out.kernel.shape)
  prior.fc_in.kernel[...] *= 50
  names = NAMES if prior.config.action_dim else ()
  return VideoGPT(tokenizer, trained(prior), prior.config, action_names=names)


@pytest.fixture(scope='module')
def gpt():
  return videogpt()


FRAMES = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 8, 8, 8, 3)).astype(np.float32)
ONE_HOT = np.eye(3, dtype=np.float32)


def steps(world, *actions):
  return np.concatenate([world.step(action) for action in actions], axis=1)


def test_rollouts_repeat_and_do_not_depend_on_their_batch(gpt):
  log = ['LEFT', 'RIGHT', 'RIGHT', 'NOTHING', 'LEFT', 'LEFT']
  world = gpt.play(n=2, seed=3)
  video = steps(world, *log)
  assert video.shape == (2, 12, 8, 8, 3) and video.dtype == np.float32
  assert 0 <= video.min() < video.max() <= 1 and (video[0] != video[1]).any()
  world.reset()
  np.testing.assert_array_equal(steps(world, *log), video)
  np.testing.assert_allclose(steps(gpt.play(seed=3), *log), video[:1], atol=1e-5)
  assert np.abs(steps(gpt.play(seed=4), *log) - video[:1]).max() > 0.01
  replayed = gpt.play(n=2, seed=3)
  np.testing.assert_array_equal(steps(replayed, *world.actions), video)


def test_an_action_changes_what_follows_and_nothing_before(gpt):
  one, other = gpt.play(seed=0), gpt.play(seed=0)
  a, b = steps(one, 1, 1, 1, 1), steps(other, 1, 1, 2, 1)
  np.testing.assert_array_equal(a[:, :4], b[:, :4])
  assert np.abs(a[:, 4:] - b[:, 4:]).max() > 0.01


@pytest.mark.parametrize('alone', [False, True])
def test_steps_are_the_priors_most_likely_codes_after_the_frames_and_actions(alone):
  """Greedy steps are the arg max of the logits over a clip that begins with the same codes."""
  gpt = videogpt(alone)
  grid = gpt.vqvae.spec.time_grid
  n_given = grid.frames(2)
  given, actions = FRAMES[:, :n_given], ONE_HOT[[[0, 1, 2], [2, 2, 0]]][:, : n_given - 1]
  world = gpt.play(given, n=2, temperature=0, actions=actions)
  codes = list(gpt.vqvae.encode_stream([given]))
  made = steps(world, [1, 2], ONE_HOT[[2, 0]])
  held = np.repeat(ONE_HOT[[[1, 2], [2, 0]]], grid.factor, axis=1)
  np.testing.assert_array_equal(np.concatenate(world.actions, axis=1), held)
  # Action i leads from frame i to i + 1; the clip's last frame has one that leads nowhere.
  actions = np.concatenate([actions, held, np.zeros((2, 1, 3))], axis=1)
  for _ in range(2):
    known = np.concatenate(codes, axis=1)
    clip = np.pad(known, [(0, 0), (0, 4 - known.shape[1]), (0, 0), (0, 0)])
    for i in range(4):  # code by code, in raster order
      logits = np.asarray(gpt.logits(clip, actions=actions)).reshape(2, 4, 4, -1)
      clip.reshape(2, 4, 4)[:, known.shape[1], i] = logits[:, known.shape[1], i].argmax(-1)
    codes.append(clip[:, known.shape[1]][:, None])
  decoded = np.concatenate(list(gpt.vqvae.decode_stream(np.concatenate(codes, axis=1))), axis=1)
  decoded = np.clip(decoded, -0.5, 0.5) + 0.5
  np.testing.assert_allclose(world.given, decoded[:, :n_given], atol=1e-5)
  np.testing.assert_allclose(made, decoded[:, n_given:], atol=1e-5)


def test_what_a_world_keeps_does_not_grow(gpt):
  world, sizes = gpt.play(FRAMES, n=2), []
  for _ in range(6):
    world.step(1)
    kept = world._stream, world._decoder._kept
    sizes.append(sum(x.nbytes for x in jax.tree.leaves(kept)))
  assert len(set(sizes)) == 1


def test_the_last_frames_that_fit_are_taken(gpt):
  np.testing.assert_array_equal(gpt.play(FRAMES[:, :7], n=2).given.shape[1], 6)
  actions = ONE_HOT[np.zeros((2, 7), int)]
  one = gpt.play(FRAMES[:, :7], n=2, actions=actions)
  other = gpt.play(FRAMES[:, 1:7], n=2, actions=actions[:, 1:6])
  np.testing.assert_array_equal(one.step(1), other.step(1))


def test_strategies_classes_and_guidance():
  gpt = videogpt(n_classes=3, action_dim=0, cond_dropout=0.1)
  settings = {'class_label': [0, 2], 'n': 2, 'guidance': 1.5, 'top_k': 4}
  fast, slow = (gpt.play(**settings, strategy=x) for x in ('speculative', 'sequential'))
  np.testing.assert_array_equal(steps(fast, None, None, None), steps(slow, None, None, None))
  assert (slow.passes == 4).all() and (fast.passes <= 4).all()
  other = gpt.play(**(settings | {'class_label': 1}))
  assert np.abs(steps(other, None, None) - steps(gpt.play(**settings), None, None)).max() > 0.01


@pytest.mark.slow
def test_several_devices(gpt):
  many = gpt.on_mesh(make_mesh(MeshConfig(data=4, tensor=2)))
  one = steps(gpt.play(FRAMES[:1].repeat(4, 0), n=4), 1, 2, 0)
  np.testing.assert_allclose(
    steps(many.play(FRAMES[:1].repeat(4, 0), n=4), 1, 2, 0), one, atol=1e-5
  )


@pytest.mark.parametrize(
  ('action', 'message'),
  [
    (3, 'actions are 0 to 2, or NOTHING, LEFT, RIGHT'),
    (-1, 'actions are 0 to 2'),
    (True, 'actions are 0 to 2'),
    ('JUMP', "'JUMP' is unknown; actions are 0 to 2, or NOTHING, LEFT, RIGHT"),
    (None, 'needs an action of this model'),
    ([0, 1], r'shape \[2\]; give a number below 3, a vector \[3\]'),
    (np.full(3, np.nan), 'not finite'),
  ],
)
def test_an_unknown_action_is_refused_with_those_that_there_are(gpt, action, message):
  with pytest.raises(UserError, match=message):
    gpt.play().step(action)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'frames': FRAMES[:, :1]}, '1 frames do not fill latent frames of 2; use 2'),
    ({'frames': FRAMES[:, :, :4]}, r'must be \[2, T, 8, 8, 3\]'),
    ({'frames': (FRAMES + 0.5) * 255}, 'must be floats in'),
    ({'frames': FRAMES, 'actions': np.zeros((2, 3, 3))}, 'actions are for 3 frames, not 8'),
    ({'actions': np.zeros((2, 3, 3))}, 'give frames with them'),
    ({'seed': -1}, 'seed'),
    ({'num_frames': 40}, 'frame by frame'),
    ({'class_label': 1}, 'not conditioned on class_label'),
  ],
)
def test_what_a_world_cannot_begin_with_is_refused(gpt, arguments, message):
  with pytest.raises(UserError, match=message):
    gpt.play(n=2, **arguments)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'attn_type': 'full', 'attn_window': 0}, "prior.attn_type is 'full'"),
    ({'positions': 'learnt'}, "prior.positions is 'learnt'"),
    ({'action_form': 'during'}, "prior.action_form is 'during'"),
    ({'tokenizer': {'time_mask': 'none', 'time_window': 0}}, "vqvae.time_mask is 'none'"),
  ],
)
def test_a_model_that_cannot_go_on_is_refused_with_the_settings_in_the_way(changes, message):
  with pytest.raises(UserError, match=message):
    videogpt(**changes).play()
