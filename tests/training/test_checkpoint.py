"""What is in a checkpoint, how many are kept, and which versions are read."""

import dataclasses
import json

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from tests.training import pair
from tests.training.tiny import leaves
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.training.checkpoint import KEEP, Checkpoints, restore_model
from videogpt_jax.training.checkpoint_format import FORMAT, sums_of
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.training.step import init_state

AVERAGED = OptimizerConfig(ema_decay=0.9)

STAGE = pair.make_stage()


def state_at(step, config=AVERAGED):
  """A state whose every array is another one; the averages differ from what is averaged."""
  state = init_state(STAGE, config, 10, jax.random.key(step))
  flat, treedef = jax.tree.flatten(state)
  state = jax.tree.unflatten(treedef, [x + i for i, x in enumerate(flat)])
  return dataclasses.replace(state, step=jax.numpy.asarray(step, jax.numpy.int32))


def saved(folder, *states, **options):
  with Checkpoints(folder, **options) as checkpoints:
    for state in states:
      checkpoints.save(state)


def restored(folder, like):
  with Checkpoints(folder) as checkpoints:
    return checkpoints.restore(like)


def assert_equal(found, wanted):
  assert jax.tree.structure(found) == jax.tree.structure(wanted)
  for a, b in zip(leaves(found), leaves(wanted), strict=True):
    np.testing.assert_array_equal(a, b)


def test_everything_comes_back(tmp_path):
  saved(tmp_path, state_at(3))
  assert_equal(restored(tmp_path, state_at(0)), state_at(3))


def test_the_newest_are_kept(tmp_path):
  saved(tmp_path / 'some', *map(state_at, range(1, 5)))
  assert sorted(p.name for p in (tmp_path / 'some').iterdir()) == ['3', '4']
  assert KEEP == 2
  saved(tmp_path / 'more', *map(state_at, range(1, 5)), keep=3)
  assert sorted(p.name for p in (tmp_path / 'more').iterdir()) == ['2', '3', '4']


def test_names_are_those_of_the_model_and_of_the_updates(tmp_path):
  saved(tmp_path, state_at(3))
  with ocp.CheckpointManager(tmp_path) as manager:
    read = ocp.args.StandardRestore()
    found = manager.restore(3, args=ocp.args.Composite(params=read, training=read))
  layers = ('discriminator', 'generator')
  arrays = [f'{layer}/{kind}' for layer in layers for kind in ('bias', 'kernel')]
  assert sorted(found['params']) == arrays
  moments = [
    f'opt_state/{layer}/1/{moment}/{layer}/{kind}'
    for layer in layers
    for moment in ('mu', 'nu')
    for kind in ('bias', 'kernel')
  ]
  assert set(moments) < set(found['training'])
  assert not any('value' in name for name in found['training'])


def test_each_checkpoint_has_a_version_and_a_newer_one_is_refused(tmp_path):
  saved(tmp_path, state_at(3))
  [file] = (file for file in (tmp_path / '3' / 'format').iterdir() if file.name == 'metadata')
  written = json.loads(file.read_text())
  assert written.keys() == {'version', 'sums'} and written['version'] == FORMAT
  file.write_text(json.dumps({'version': FORMAT + 1}))
  message = f'{tmp_path}/3 has format {FORMAT + 1}, .* up to {FORMAT}; update the package'
  with pytest.raises(UserError, match=message):
    restored(tmp_path, state_at(0))
  with pytest.raises(UserError, match=message):
    restore_model(tmp_path, *STAGE.abstract()[1:])


def test_a_model_is_read_with_averages_of_all_that_it_holds(tmp_path):
  state = state_at(3)
  saved(tmp_path, state)
  found = restore_model(tmp_path, *STAGE.abstract()[1:])
  assert_equal(found, (state.ema_params, state.ema_variables))
  saved(tmp_path / 'plain', plain := state_at(3, OptimizerConfig()))
  found = restore_model(tmp_path / 'plain', *STAGE.abstract()[1:])
  assert_equal(found, (plain.params, plain.variables))


def test_without_averaged_variables_they_start_from_the_newest(tmp_path):
  """As in checkpoints of before they were averaged. No array is there twice: steps donate them."""
  old = dataclasses.replace(state_at(3), ema_variables=None)
  saved(tmp_path, old)
  found = restored(tmp_path, state_at(0))
  assert_equal(found, dataclasses.replace(old, ema_variables=old.variables))
  model = restore_model(tmp_path, *STAGE.abstract()[1:])
  assert_equal(model, (old.ema_params, old.variables))
  jax.block_until_ready(jax.jit(lambda state: jax.tree.map(abs, state), donate_argnums=0)(found))


def test_a_folder_without_a_checkpoint_is_said_to_be_one(tmp_path):
  with pytest.raises(UserFileError, match=r'no checkpoint in .*; train that stage first'):
    restore_model(tmp_path, *STAGE.abstract()[1:])


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'bool', 'uint8'])
def test_every_flipped_bit_changes_a_checksum_and_no_mesh_does(dtype):
  draw = np.random.default_rng(0)
  x = jax.numpy.asarray(draw.integers(0, 2, (8, 6)), dtype)
  wanted = sums_of({'x': x})
  mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
  spread = jax.device_put(x, NamedSharding(mesh, P('fsdp', 'tensor')))
  assert sums_of({'x': spread}) == wanted
  assert sums_of({'x': x.at[0].set(x[1]).at[1].set(x[0])}) != wanted
  for place in range(x.nbytes):
    content = bytearray(np.asarray(x).tobytes())
    content[place] ^= 1 if dtype == 'bool' else 1 << draw.integers(8)
    other = np.frombuffer(bytes(content), x.dtype).reshape(x.shape)
    assert sums_of({'x': other}) != wanted
