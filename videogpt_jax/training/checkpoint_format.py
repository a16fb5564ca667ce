"""Contents of one checkpoint: its items, the names of their arrays, and versions of the layout."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils.epath import Path

from videogpt_jax.errors import UserError
from videogpt_jax.files import check_unpacked
from videogpt_jax.training.paths import DISCRIMINATOR, name_of
from videogpt_jax.training.step import TrainState

FORMAT = 2
"""Version of the layout, written into each checkpoint.

1: arrays have Flax's names ('.../kernel/value') and those of `RENAMED`, and no version is written.
2: arrays have the names of `paths.name_of`.
"""

RENAMED = (
  ('^opt_state/[^/]+', 'opt_state'),
  ('conditioners/frames/resnet/', 'resnet/'),
  ('conditioners/frames/positions/', 'cond_positions/'),
)
"""Patterns of names, and what format 1 has in their place."""


def items_of(state: TrainState) -> dict:
  """Returns the items of a checkpoint of this state: trees of arrays by name."""
  items = {
    'params': state.params,
    'variables': state.variables,
    'ema_params': state.ema_params,
    'ema_variables': state.ema_variables,
    'training': {'step': state.step, 'opt_state': state.opt_state},
  }
  return nonempty(items)


def nonempty(items: dict) -> dict:
  """Leaves out items without arrays (a prior's variables, averages), which Orbax cannot store."""
  return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}


def to_save(tree) -> ocp.args.StandardSave:
  """Returns an item as Orbax saves it: its arrays by name."""
  return ocp.args.StandardSave(dict(zip(_names(tree), jax.tree.leaves(tree), strict=True)))


def _names(tree) -> list[str]:
  return [name_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _names_in_format_1(tree) -> list[str]:
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
  names = [jax.tree_util.keystr(path, simple=True, separator='/') for path in paths]
  for pattern, old in RENAMED:
    names = [re.sub(pattern, old, name) for name in names]
  return names


def holds(manager: ocp.CheckpointManager, step: int, item: str) -> bool:
  """Whether a checkpoint has this item."""
  return (manager.directory / str(step) / item).exists()


def read_items(manager: ocp.CheckpointManager, step: int, likes: dict) -> dict:
  """Returns items of a checkpoint, as trees like these (UserError if its format is too new)."""
  names = _names_in_format_1 if _format(manager, step) == 1 else _names
  wanted = {
    item: dict(zip(names(tree), jax.tree.leaves(tree), strict=True)) for item, tree in likes.items()
  }
  # Orbax restores all or nothing.
  args = {
    item: ocp.args.StandardRestore(_of_discriminator(manager, step, item, arrays) | arrays)
    for item, arrays in wanted.items()
  }
  found = manager.restore(step, args=ocp.args.Composite(**args))
  trees = {
    item: jax.tree.unflatten(jax.tree.structure(tree), [found[item][n] for n in names(tree)])
    for item, tree in likes.items()
  }
  _check_sums(trees, about(manager, step).get('sums', {}))
  return trees


def _of_discriminator(manager: ocp.CheckpointManager, step: int, item: str, wanted: dict) -> dict:
  """Returns space for a discriminator, which is stored beside the VQ-VAE that it trains.

  Raises:
    ValueError: an array of the item claims more than is stored, and reading would make room for it.
  """
  folder = manager.directory / str(step) / item
  stored = ocp.StandardCheckpointHandler().metadata(folder).tree
  for name, array in stored.items():
    # A chunk is unpacked as a whole, even where little of it lies in the array.
    chunk = array.storage.chunk_shape if array.storage else ()
    if math.prod(chunk or ()) > max(math.prod(array.shape), 1):
      raise ValueError(f'{item}/{name} of shape {array.shape} has chunks of {chunk}')
    if name in wanted and tuple(array.shape) != wanted[name].shape:
      raise ValueError(f'{item}/{name} has shape {array.shape}, not {wanted[name].shape}')
  of_it = (name for name in stored if name.startswith(f'{DISCRIMINATOR}/') and name not in wanted)
  beside = {name: stored[name] for name in of_it}
  if beside:
    claimed = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in beside.values())
    check_unpacked(claimed, _size(folder))
  return {name: np.empty(x.shape, x.dtype) for name, x in beside.items()}


def _size(folder: Path) -> int:
  """Returns the bytes of all files in a folder."""
  return sum(_size(child) if child.is_dir() else child.stat().length for child in folder.iterdir())


def sums_of(tree) -> dict[str, int]:
  """Returns a checksum of each array by its name, for Orbax has none of what arrays hold.

  It is the sum of all entries' bits, each times an odd number that depends on its place, modulo
  2**32. So it is the same on every mesh, and every single flipped bit changes it.
  """
  sums = jax.device_get(_sums(jax.tree.leaves(tree)))
  return {name: int(x) for name, x in zip(_names(tree), sums, strict=True)}


@jax.jit
def _sums(arrays: list[jax.Array]) -> list[jax.Array]:
  return [_sum_of_bits(x) for x in arrays]


def _sum_of_bits(x: jax.Array) -> jax.Array:
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(x.dtype.itemsize, jnp.uint32)
  x = x.astype(jnp.uint8) if x.dtype == bool else x
  bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
  place = jnp.zeros(bits.shape, jnp.uint32)
  for axis, size in enumerate(bits.shape):
    place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
  mixed = place * jnp.uint32(0x9E3779B1)  # the golden ratio, so that neighbours differ in all bits
  weight = (mixed ^ (mixed >> 15)) | 1
  return jnp.sum(bits * weight, dtype=jnp.uint32)


def _check_sums(trees: dict, written: dict):
  """Refuses arrays that are not what was written (ValueError); older checkpoints have no sums."""
  for item in trees.keys() & written.keys():
    for name, found in sums_of(trees[item]).items():
      if written[item].get(name) != found:
        raise ValueError(f'{item}/{name} has another checksum than when it was written')


def _format(manager: ocp.CheckpointManager, step: int) -> int:
  """Returns the version of a checkpoint's layout (UserError if it is newer than this package)."""
  version = about(manager, step).get('version', 1)
  if version > FORMAT:
    raise UserError(
      f'checkpoint {manager.directory / str(step)} has format {version}, and this version of '
      f'videogpt_jax reads formats up to {FORMAT}; update the package'
    )
  return version


def about(manager: ocp.CheckpointManager, step: int) -> dict:
  """Returns what is written about a checkpoint: its version, and its loss if it has one."""
  if not holds(manager, step, 'format'):
    return {}
  return manager.restore(step, args=ocp.args.Composite(format=ocp.args.JsonRestore()))['format']


def is_good(manager: ocp.CheckpointManager, step: int) -> bool:
  """Whether a checkpoint's evaluation was finite; a damaged one counts as good until it is read."""
  try:
    return about(manager, step).get('good', True)
  except Exception:
    return True
