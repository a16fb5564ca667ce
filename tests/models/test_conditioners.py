"""Conditions are one dict by name, from a batch to the sampler; another kind needs only a class."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.test_generation import videogpt
from tests.training.tiny import batch, make_stage
from videogpt_jax.errors import UserError
from videogpt_jax.models import conditioners
from videogpt_jax.models.conditioners import Condition, Conditioner
from videogpt_jax.models.layers import Linear
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.transformer import PriorConfig


class Caption(Conditioner):
  """A made-up condition: two words of four numbers, for the norms and for cross-attention."""

  wanted = staticmethod(lambda config: True)
  shape = staticmethod(lambda config, spec: (2, 4))
  from_batch = staticmethod(lambda batch, config: batch['caption'])

  def __init__(self, config, spec, *, rngs):
    self.norm_dim, self.memory_dim = 8, 8
    self.words = Linear(4, 8, stddev=1.0, rngs=rngs)

  def __call__(self, value):
    return Condition(norm=value.reshape(len(value), 1, 8), memory=self.words(value))


@pytest.fixture
def caption(monkeypatch):
  monkeypatch.setitem(conditioners.CONDITIONERS, 'caption', Caption)


def test_a_made_up_condition_goes_from_the_data_through_training(caption):
  stage = make_stage('prior')
  clips = batch(0) | {'caption': np.ones((8, 2, 4), np.float32)}
  prior = stage.create(nnx.Rngs(0))
  # The last layer starts at zero, where nothing before it has a gradient.
  prior.fc_out.kernel[...] = jax.random.normal(jax.random.key(1), prior.fc_out.kernel.shape)
  graph, params = nnx.split(prior)
  loss = stage.updates[0].loss
  value = lambda p: loss(nnx.merge(graph, p), stage.frozen, clips, jax.random.key(0))[0]
  words = jax.grad(value)(params)['conditioners']['caption']['words']['kernel'][...]
  assert np.abs(words).max() > 0


def test_a_made_up_condition_reaches_the_sampler(caption):
  gpt = videogpt(n_classes=3)
  draw = lambda caption: gpt.sample_codes(
    2, class_label=1, conditions={'caption': np.full((2, 2, 4), caption, np.float32)}
  )
  assert (draw(3.0) != draw(-3.0)).any()
  with pytest.raises(UserError, match=r'give caption, shape \[n, 2, 4\]'):
    gpt.sample_codes(2, class_label=1)


def test_conditions_that_no_prior_knows_are_refused():
  with pytest.raises(
    UserError, match=r"unknown conditions \['sound'\]; conditions are class_label"
  ):
    videogpt().sample(1, conditions={'sound': np.zeros((1, 3))})


ACTIONS = {
  'before': [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]],
  'during': [[1, 1, 2, 2], [3, 3, 4, 4], [5, 5, 6, 6]],
  'clip': [[1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]],
}
"""What codes of each latent frame see of the actions 1 to 6, by `prior.action_form`."""


@pytest.mark.parametrize('form', ACTIONS)
def test_codes_see_the_actions_that_move_their_frames(form):
  config = PriorConfig(hidden_dim=12, n_heads=2, action_dim=2, action_form=form)
  spec = CodeSpec((3, 2, 2), 7, 5, 6, 8)
  actions = jnp.broadcast_to(jnp.arange(1.0, 7)[None, :, None], (2, 6, 2))
  actions_conditioner = conditioners.ActionsConditioner(config, spec, rngs=nnx.Rngs(0))
  norm = actions_conditioner(actions).norm
  np.testing.assert_array_equal(norm[1], ACTIONS[form])
  assert norm.shape[2] == actions_conditioner.norm_dim


@pytest.mark.parametrize(
  'form, expected',
  [
    ('before', [[0, 0, 0, 0], [0, 1, 2, 3], [4, 5, 6, 7]]),
    ('during', [[0, 0, 0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]),
  ],
)
def test_actions_of_a_first_latent_frame_that_covers_one_frame_stand_at_its_end(form, expected):
  config = PriorConfig(hidden_dim=12, n_heads=2, action_dim=2, action_form=form)
  even = CodeSpec((3, 2, 2), 7, 5, 6, 8)
  causal = dataclasses.replace(even, sequence_length=5, time_grid=TimeGrid(2, first_alone=True))
  actions = jnp.arange(20.0).reshape(2, 5, 2)
  norm = conditioners.ActionsConditioner(config, causal, rngs=nnx.Rngs(0))(actions).norm
  assert norm.shape == (2, 3, 4)
  np.testing.assert_array_equal(norm[0], expected)


def test_messages_speak_of_shapes_that_a_reader_can_use():
  gpt = videogpt(n_classes=3, action_dim=2)
  with pytest.raises(UserError, match=r'give class_label, shape \[n\]$'):
    gpt.sample(2, actions=np.zeros((2, 6, 2), np.float32))
