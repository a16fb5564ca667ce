"""Fills a scoring network with imported arrays."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax.errors import UserError

Path = tuple[str | int, ...]


def fill(make: Callable[[], nnx.Module], arrays: Mapping[Path, np.ndarray], file: str):
  """Builds a network abstractly, without random weights, and fills every parameter from `arrays`.

  Args:
    make: builds the module.
    arrays: path of each parameter -> its values.
    file: source of the arrays, for messages.
  Returns:
    the module, in float32.
  Raises:
    UserError: a parameter is missing, has another shape, or is not finite.
  """
  graph, state = nnx.split(nnx.eval_shape(make))
  flat = dict(nnx.to_flat_state(state))
  missing = ['.'.join(map(str, path)) for path in flat if path not in arrays]
  if missing:
    raise UserError(
      f'{file} lacks {len(missing)} of {len(flat)} tensors, such as {missing[0]}; '
      'give the complete published file'
    )
  for path, variable in flat.items():
    name, array = '.'.join(map(str, path)), np.asarray(arrays[path], np.float32)
    if array.shape != variable.shape:
      raise UserError(
        f'{name} in {file} has shape {array.shape}, but the network needs {variable.shape}; '
        'give the published file of this network'
      )
    if not np.isfinite(array).all():
      raise UserError(f'{name} in {file} must be finite; give an intact file')
    flat[path] = variable.replace(jnp.asarray(array))
  return nnx.merge(graph, nnx.from_flat_state(flat))
