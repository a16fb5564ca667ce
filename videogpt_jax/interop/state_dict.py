"""Conversion between a published state dict and the state of our models."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.interop.names import Row


def to_state(
  tensors: Mapping[str, np.ndarray],
  table: Sequence[Row],
  state: nnx.State,
  besides: Mapping[str, tuple[int, ...]] | None = None,
) -> nnx.State:
  """Fills a model's state with published tensors.

  Args:
    tensors: the state dict.
    table: of the model.
    state: the model's abstract state; entries that the table does not list stay as they are.
    besides: names and shapes of further tensors that the state dict must hold.
  Returns:
    the state with float32 arrays.
  Raises:
    UserError: a tensor is missing, superfluous or of the wrong shape.
  """
  ours = dict(nnx.to_flat_state(state))
  wanted = {row.name: _published_shape(row, ours[row.path].shape) for row in table}
  _check(tensors, wanted | dict(besides or {}))
  values: dict[tuple, list[np.ndarray]] = {}
  for row in table:  # a stack's layers come in order
    i, n = row.part
    x = np.asarray(np.split(tensors[row.name], n)[i] if n > 1 else tensors[row.name], np.float32)
    values.setdefault(row.path, []).append(rearrange(x, row.layout))
  is_stacked = {row.path: row.layer is not None for row in table}
  for path, parts in values.items():
    x = np.stack(parts) if is_stacked[path] else parts[0]
    ours[path] = ours[path].replace(jnp.asarray(x))
  return nnx.from_flat_state(ours)


def to_tensors(state: nnx.State, table: Sequence[Row]) -> dict[str, np.ndarray]:
  """Returns a model's state as published float32 tensors by name, the inverse of `to_state`."""
  ours = dict(nnx.to_flat_state(jax.device_get(state)))
  parts: dict[str, list[np.ndarray]] = {}
  for row in table:  # the parts of a tensor come in order
    x = np.asarray(ours[row.path][...])
    x = x if row.layer is None else x[row.layer]
    parts.setdefault(row.name, []).append(rearrange(x, _reverse(row.layout)))
  return {
    name: np.ascontiguousarray(xs[0] if len(xs) == 1 else np.concatenate(xs))
    for name, xs in parts.items()
  }


def _reverse(layout: str) -> str:
  theirs, ours = layout.split('->')
  return f'{ours}->{theirs}'


def _published_shape(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
  shape = shape if row.layer is None else shape[1:]
  theirs = rearrange(np.broadcast_to(np.float32(0), shape), _reverse(row.layout)).shape
  _, n = row.part
  return (n * theirs[0], *theirs[1:]) if n > 1 else theirs


def _check(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]):
  """Refuses tensors other than the wanted ones (UserError)."""
  faults = []
  for name, shape in wanted.items():
    if name not in tensors:
      faults.append(f'{name} is missing (shape {shape} expected)')
    elif tensors[name].shape != shape:
      faults.append(f'{name} has shape {tensors[name].shape}, not {shape}')
  for name in tensors.keys() - wanted.keys():
    faults.append(f'{name} (shape {tensors[name].shape}) belongs to no part of the model')
  if faults:
    more = f', and {len(faults) - 1} more such faults' if len(faults) > 1 else ''
    raise UserError(
      f'the state dict does not fit its hyper-parameters: {faults[0]}{more}; '
      'is it a complete VideoGPT checkpoint?'
    )
