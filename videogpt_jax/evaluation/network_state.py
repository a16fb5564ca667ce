"""Puts imported arrays into a scoring network, all of them and nothing else."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

Path = tuple[str | int, ...]


def fill(make: Callable[[], nnx.Module], arrays: Mapping[Path, np.ndarray], file: str):
  """Makes a network whose every parameter comes from `arrays`.

  No random weights are ever drawn: the network is built abstractly and then filled.

  Args:
    make: builds the module.
    arrays: path of each parameter -> its values.
    file: where they come from, for messages.
  Returns:
    the module, in float32.
  Raises:
    ValueError: a parameter is missing from the file, has another shape there, or is not finite.
  """
  graph, state = nnx.split(nnx.eval_shape(make))
  flat = dict(nnx.to_flat_state(state))
  missing = ['.'.join(map(str, path)) for path in flat if path not in arrays]
  if missing:
    raise ValueError(
      f'{file} lacks {len(missing)} of {len(flat)} tensors, such as {missing[0]}; '
      'give the complete published file'
    )
  for path, variable in flat.items():
    name, array = '.'.join(map(str, path)), np.asarray(arrays[path], np.float32)
    if array.shape != variable.shape:
      raise ValueError(
        f'{name} in {file} has shape {array.shape}, but the network needs {variable.shape}; '
        'give the published file of this network'
      )
    if not np.isfinite(array).all():
      raise ValueError(f'{name} in {file} must be finite; give an intact file')
    flat[path] = variable.replace(jnp.asarray(array))
  return nnx.merge(graph, nnx.from_flat_state(flat))
