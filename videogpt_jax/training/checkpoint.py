"""Checkpoints of a stage, by Orbax: sharded, asynchronous, restored onto any mesh."""

import os

import jax
import orbax.checkpoint as ocp
from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding

from videogpt_jax.training.sharding import shardings
from videogpt_jax.training.step import TrainState


class Checkpoints:
  """The checkpoints of one stage in a folder; the newest ones are kept.

  Parameters, variables, averaged parameters and optimiser state are separate items, so that
  sampling reads no optimiser state.
  """

  def __init__(self, directory: Path | str, keep: int = 2):
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
    )
    self.manager = ocp.CheckpointManager(_absolute(directory), options=options)

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *exception):
    self.manager.wait_until_finished()
    self.manager.close()

  def latest_step(self) -> int | None:
    """Returns the step of the newest complete checkpoint, or None."""
    return self.manager.latest_step()

  def save(self, state: TrainState):
    """Writes `state` in the background, once the one before is written."""
    step = int(state.step)
    if step == self.manager.latest_step():
      return
    items = {name: ocp.args.StandardSave(_pure(value)) for name, value in _items(state).items()}
    self.manager.save(step, args=ocp.args.Composite(**items), force=True)

  def restore(self, like: TrainState) -> TrainState:
    """Returns the newest checkpoint as `like`: arrays, or their shapes with shardings."""
    step = self.manager.latest_step()
    items = _items(like)
    args = {name: ocp.args.StandardRestore(_pure(value)) for name, value in items.items()}
    found = self.manager.restore(step, args=ocp.args.Composite(**args))
    values = {name: _like(items[name], found[name]) for name in items}
    return TrainState(
      step=values['training']['step'],
      params=values['params'],
      variables=values.get('variables', like.variables),
      opt_state=values['training']['opt_state'],
      ema_params=values.get('ema_params'),
    )


def latest_step(directory: Path | str) -> int | None:
  """Returns the step of the newest complete checkpoint in a folder, or None."""
  with _reader(directory) as manager:
    return manager.latest_step()


def restore_model(
  directory: Path | str, params: nnx.State, variables: nnx.State, mesh: Mesh | None = None
) -> tuple[nnx.State, nnx.State]:
  """Returns the newest model in `directory`: averaged parameters where there are any.

  Args:
    directory: of a stage's checkpoints.
    params, variables: shapes of the model's states (`Stage.abstract`).
    mesh: to spread it over, of which each device reads its part; by default one device holds all.
  Raises:
    FileNotFoundError: there is no checkpoint.
  """
  with _reader(directory) as manager:
    step = manager.latest_step()
    if step is None:
      raise FileNotFoundError(f'no checkpoint in {directory}; train that stage first')
    averaged = (manager.directory / str(step) / 'ema_params').exists()
    name = 'ema_params' if averaged else 'params'
    likes = _nonempty({name: params, 'variables': variables})
    args = {
      key: ocp.args.StandardRestore(_pure(_placed(value, mesh))) for key, value in likes.items()
    }
    found = manager.restore(step, args=ocp.args.Composite(**args))
  return _like(params, found[name]), _like(variables, found.get('variables', {}))


def _reader(directory: Path | str) -> ocp.CheckpointManager:
  """One that does not tidy up in the background, perhaps beyond the interpreter's end."""
  options = ocp.CheckpointManagerOptions(read_only=True)
  return ocp.CheckpointManager(_absolute(directory), options=options)


def _items(state: TrainState) -> dict:
  items = {
    'params': state.params,
    'variables': state.variables,
    'training': {'step': state.step, 'opt_state': state.opt_state},
  }
  return _nonempty(items | {'ema_params': state.ema_params})


def _nonempty(items: dict) -> dict:
  """Orbax stores no item without arrays: the variables of a prior, averages that nobody keeps."""
  return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}


def _pure(tree):
  """Nested dicts of arrays, named by path: what is on disk does not depend on Flax's classes."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {jax.tree_util.keystr(path, simple=True, separator='/'): leaf for path, leaf in leaves}


def _like(tree, pure):
  """Returns `tree` with its leaves taken from what `_pure` made of it."""
  return jax.tree.unflatten(jax.tree.structure(tree), [pure[key] for key in _pure(tree)])


def _placed(shapes, mesh: Mesh | None):
  """Shapes for a restore onto a mesh, or onto one local device."""
  one = SingleDeviceSharding(jax.local_devices()[0])
  places = jax.tree.map(lambda _: one, shapes) if mesh is None else shardings(shapes, mesh)
  return jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, places
  )


def _absolute(directory: Path | str) -> str:
  """Orbax wants absolute paths; a bucket's address is one already."""
  return str(directory) if '://' in str(directory) else os.path.abspath(directory)
