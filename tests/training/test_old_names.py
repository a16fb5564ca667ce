"""Checkpoints of the first layout, whose conditioning frames' network stood at the prior's root."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from tests.models.test_prior import SPEC
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.training.checkpoint import restore_model

CONFIG = PriorConfig(
  hidden_dim=12, n_heads=2, n_layers=1, n_cond_frames=1, resnet_dim=4, resnet_depth=18
)


def as_then(name):
  """The name that an array had, such as 'resnet/stem/kernel/value'."""
  name = name.replace('conditioners/frames/resnet', 'resnet')
  return name.replace('conditioners/frames/positions', 'cond_positions') + '/value'


@pytest.fixture
def written(tmp_path):
  """A prior's parameters, in a checkpoint as they were named then."""
  params = nnx.state(Prior(CONFIG, SPEC, rngs=nnx.Rngs(0)))
  flat = {as_then('/'.join(map(str, path))): leaf[...] for path, leaf in nnx.to_flat_state(params)}
  assert 'resnet/stem/kernel/value' in flat and 'cond_positions/tables/0/value' in flat
  with ocp.CheckpointManager(tmp_path / 'old') as manager:
    manager.save(3, args=ocp.args.Composite(params=ocp.args.StandardSave(flat)))
  return tmp_path / 'old', params


def test_a_prior_of_frames_is_still_read(written):
  folder, params = written
  like = nnx.state(nnx.eval_shape(lambda: Prior(CONFIG, SPEC, rngs=nnx.Rngs(0))))
  found, _ = restore_model(folder, like, nnx.State({}))
  for a, b in zip(*map(jax.tree.leaves, (found, params)), strict=True):
    np.testing.assert_array_equal(a, b)
