"""Placement of activations on a mesh: models name axes, and the caller maps them to mesh axes.

A model calls `constrain(x, 'B L D')`. To run it on several devices, the caller traces it inside
`placed`, with a mesh and a table from axis letters to mesh axes. Without `placed`, `constrain` does
nothing. Models therefore know no mesh.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Table = Mapping[str, tuple[str, ...]]
"""Axis letter -> mesh axes that shard it; letters are in order of precedence."""


class _Placement(NamedTuple):
  mesh: Mesh
  table: Table


_ACTIVE: contextvars.ContextVar[_Placement | None] = contextvars.ContextVar('placement')
_PLATFORM: contextvars.ContextVar[str | None] = contextvars.ContextVar('platform', default=None)


@contextlib.contextmanager
def placed(mesh: Mesh | None, table: Table) -> Iterator[None]:
  """Shards the arrays that are constrained while traced inside this context.

  Enter it inside the function that is compiled, not around a call of the compiled function: jax.jit
  does not retrace when the placement changes.

  Args:
    mesh: the devices; None or a single device shards nothing.
    table: the mesh axes that shard each letter. A mesh axis shards one axis of an array, that of
      the first letter in the table: with N before L and both on one mesh axis, [B L D] is sharded
      along L and [B L N d] along N.
  """
  placement = None if mesh is None or mesh.size == 1 else _Placement(mesh, table)
  platform = _PLATFORM.get() if mesh is None else mesh.devices.flat[0].platform
  tokens = _ACTIVE.set(placement), _PLATFORM.set(platform)
  try:
    yield
  finally:
    _ACTIVE.reset(tokens[0])
    _PLATFORM.reset(tokens[1])


def platform() -> str:
  """Returns the platform of the traced program: 'cpu', 'gpu' or 'tpu'.

  It is the platform of the mesh, which may be absent if a program is compiled ahead of time, or
  JAX's default without a mesh.
  """
  return _PLATFORM.get() or jax.default_backend()


def on_one_cpu() -> bool:
  """Returns whether the traced program runs on a single CPU device.

  There XLA is fast at products of matrices, but not of higher-dimensional arrays. Sharded axes
  could not be merged.
  """
  return platform() == 'cpu' and _ACTIVE.get(None) is None


def constrain(x: jax.Array, axes: str) -> jax.Array:
  """Returns x with the sharding that the placement gives these axes.

  Args:
    x: any array.
    axes: a letter for each axis of x, separated by spaces: 'B L D'. Letters that the table lacks,
      and sizes that mesh axes do not divide, are not sharded.
  """
  placement = _ACTIVE.get(None)
  if placement is None:
    return x
  letters = axes.split()
  shards = _shards(placement, dict(zip(letters, x.shape, strict=True)))
  spec = PartitionSpec(*(shards.get(letter) for letter in letters))
  return jax.lax.with_sharding_constraint(x, NamedSharding(placement.mesh, spec))


def per_shard(
  f: Callable[..., jax.Array], in_axes: tuple[str, ...], out_axes: str
) -> Callable[..., jax.Array]:
  """Returns f run by each device on its own shard, for kernels that the compiler cannot partition.

  Args:
    f: takes arrays and returns one array; it must treat the entries of sharded axes independently.
    in_axes: letters of each argument, as for `constrain`; '' for a scalar. A letter of the table
      must have the same size in all of them.
    out_axes: letters of the result; those that are sharded must occur in an argument.
  """
  placement = _ACTIVE.get(None)
  if placement is None:
    return f

  def sharded(*args):
    sizes = {}
    for axes, arg in zip(in_axes, args, strict=True):
      for letter, size in zip(axes.split(), arg.shape, strict=True):
        assert letter not in placement.table or sizes.get(letter, size) == size, (letter, in_axes)
        sizes[letter] = size
    shards = _shards(placement, sizes)
    specs = [
      PartitionSpec(*(shards.get(letter) for letter in axes.split()))
      for axes in (*in_axes, out_axes)
    ]

    def on_one_device(*args):
      with placed(None, {}):  # a shard is whole on its device
        return f(*args)

    return jax.shard_map(
      on_one_device,
      mesh=placement.mesh,
      in_specs=tuple(specs[:-1]),
      out_specs=specs[-1],
      check_vma=False,
    )(*args)

  return sharded


def _shards(placement: _Placement, sizes: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
  """Returns the mesh axes of each letter: as many as are free and divide its size."""
  free, shards = set(placement.mesh.axis_names), {}
  for letter, wanted in placement.table.items():
    if letter not in sizes:
      continue
    axes = tuple(axis for axis in wanted if axis in free)
    while axes and sizes[letter] % math.prod(placement.mesh.shape[axis] for axis in axes):
      axes = axes[:-1]
    if axes:
      shards[letter] = axes
    free -= set(axes)
  return shards
