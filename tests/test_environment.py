"""The world as an environment: Gymnasium's own check, and the world's frames."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.test_world import FRAMES, NAMES, ONE_HOT, videogpt
from videogpt_jax import SamplingSettings, UserError
from videogpt_jax.environment import WorldEnv


@pytest.fixture(scope='module')
def model():
  return videogpt()


def test_gymnasium_accepts_it(model):
  check_env(WorldEnv(model, FRAMES[0]), skip_render_check=False)


def test_steps_are_those_of_the_world(model):
  env = WorldEnv(model, FRAMES[0], ONE_HOT[[1] * 8], max_steps=2)
  world = model.play(FRAMES[0], 5, actions=ONE_HOT[[1] * 8])
  observation, info = env.reset(seed=5)
  np.testing.assert_array_equal(observation, np.rint(world.given[0, -1] * 255))
  assert env.action_space.n == len(NAMES) and info['frames'].shape == (8, 8, 8, 3)
  for step, name in enumerate(('LEFT', 'RIGHT')):
    observation, reward, terminated, truncated, info = env.step(env.action(name))
    np.testing.assert_array_equal(info['frames'], np.rint(world.step(name)[0] * 255))
    np.testing.assert_array_equal(observation, info['frames'][-1])
    assert (reward, terminated, truncated) == (0.0, False, step == 1)
  other, _ = env.reset(seed=5, options={'frames': FRAMES[1], 'actions': None})
  assert (other != observation).any()


def test_without_a_beginning_the_model_makes_the_first_frame(model):
  env = WorldEnv(model, settings=SamplingSettings(temperature=9.0))
  firsts = [env.reset(seed=seed)[0] for seed in range(8)]
  assert firsts[0].shape == (8, 8, 3) and len({first.tobytes() for first in firsts}) > 1


def test_what_cannot_be_is_told(model):
  with pytest.raises(UserError, match='needs a model with actions'):
    WorldEnv(videogpt(action_dim=0))
  env = WorldEnv(model)
  with pytest.raises(UserError, match='call reset'):
    env.step(0)
  env.reset(seed=0)
  with pytest.raises(UserError, match='actions are NOTHING, LEFT, RIGHT'):
    env.action('JUMP')
  with pytest.raises(UserError, match='actions are 0 to 2'):
    env.step(7)
