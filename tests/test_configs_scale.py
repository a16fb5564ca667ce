"""The scaled priors have the sizes that their names promise."""

import importlib
import math

import jax
import pytest
from flax import nnx

from videogpt_jax.config import from_dict
from videogpt_jax.models.prior import Prior

SIZES = {'prior_100m': 100e6, 'prior_1b': 1e9, 'prior_7b': 7e9}


def experiment(name, *argument):
  return from_dict(importlib.import_module(f'configs.scale.{name}').get_config(*argument))


@pytest.mark.parametrize('name', SIZES)
def test_a_prior_has_its_parameters(name):
  found = experiment(name)
  prior = nnx.eval_shape(lambda: Prior(found.prior, found.codes, rngs=nnx.Rngs(0)))
  parameters = sum(math.prod(p.shape) for p in jax.tree.leaves(nnx.state(prior, nnx.Param)))
  assert parameters == pytest.approx(SIZES[name], rel=0.06)


@pytest.mark.parametrize('name', SIZES)
def test_longer_clips_have_longer_latents(name):
  assert experiment(name).codes.latent_shape == (4, 32, 32)
  longer = experiment(name, '64')
  assert longer.codes.latent_shape == (16, 32, 32)
  assert longer.dataset.sequence_length == 64


def test_a_length_that_is_not_planned_names_those_that_are():
  with pytest.raises(ValueError, match=r"frames \('32'\) must be one of 16, 64"):
    experiment('prior_1b', '32')
