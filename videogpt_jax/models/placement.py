"""Where activations live, as far as a model needs to say: it names their axes.

A model calls `constrain(x, 'B L D')`; whoever runs it on several devices enters `placed`, with a
mesh and a table from axis letters to mesh axes, while the model is traced. Without that nothing
happens, so that models know no mesh and no mesh axis.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Table = Mapping[str, tuple[str, ...]]
"""Axis letter -> axes of the mesh that share it out, the letters in order of precedence."""


class _Placement(NamedTuple):
  mesh: Mesh
  table: Table


_ACTIVE: contextvars.ContextVar[_Placement | None] = contextvars.ContextVar('placement')
_PLATFORM: contextvars.ContextVar[str | None] = contextvars.ContextVar('platform', default=None)


@contextlib.contextmanager
def placed(mesh: Mesh | None, table: Table) -> Iterator[None]:
  """Places what is traced inside; with no mesh, or one of a single device, nothing is placed.

  To be entered in the function that is compiled, not around the compiled one: jax.jit does not
  trace again because another placement is active.

  Args:
    mesh: the devices.
    table: which of the mesh's axes share out which letter. A mesh axis serves one axis of an array,
      the first letter in the table that asks for it: with N before L, and both on one mesh axis,
      [B L D] is cut along L and [B L N d] along N.
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
  """Returns what the traced program will run on: 'cpu', 'gpu' or 'tpu'.

  The placement's devices say so, which need not be at hand when a program is compiled ahead of
  time; without a placement it is JAX's default.
  """
  return _PLATFORM.get() or jax.default_backend()


def on_one_cpu() -> bool:
  """Returns whether what is traced runs on a single CPU device.

  There XLA computes products of matrices well, and others less so. Axes that several devices share
  out cannot be made one.
  """
  return platform() == 'cpu' and _ACTIVE.get(None) is None


def constrain(x: jax.Array, axes: str) -> jax.Array:
  """Returns x, told to the compiler to live where the placement wants these axes.

  Args:
    x: any array.
    axes: a letter for each axis of x, apart by spaces: 'B L D'. Letters that the table lacks, and
      sizes that the mesh axes do not divide, are not cut.
  """
  placement = _ACTIVE.get(None)
  if placement is None:
    return x
  letters = axes.split()
  cuts = _cuts(placement, dict(zip(letters, x.shape, strict=True)))
  spec = PartitionSpec(*(cuts.get(letter) for letter in letters))
  return jax.lax.with_sharding_constraint(x, NamedSharding(placement.mesh, spec))


def per_shard(
  f: Callable[..., jax.Array], in_axes: tuple[str, ...], out_axes: str
) -> Callable[..., jax.Array]:
  """Returns f, run by every device on its own share: for kernels that the compiler cannot split.

  Args:
    f: takes arrays and returns one array; it must treat every cut axis entry by entry.
    in_axes: letters of each argument, as for `constrain`; '' for a scalar. A letter that the table
      cuts must have one size in all of them.
    out_axes: letters of the result; those that are cut must occur in an argument.
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
    cuts = _cuts(placement, sizes)
    specs = [
      PartitionSpec(*(cuts.get(letter) for letter in axes.split())) for axes in (*in_axes, out_axes)
    ]

    def alone(*args):
      with placed(None, {}):  # a share is whole to the one device that holds it
        return f(*args)

    return jax.shard_map(
      alone, mesh=placement.mesh, in_specs=tuple(specs[:-1]), out_specs=specs[-1], check_vma=False
    )(*args)

  return sharded


def _cuts(placement: _Placement, sizes: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
  """Which mesh axes cut each letter: as many of the table's as are free and divide its size."""
  free, cuts = set(placement.mesh.axis_names), {}
  for letter, wanted in placement.table.items():
    if letter not in sizes:
      continue
    axes = tuple(axis for axis in wanted if axis in free)
    while axes and sizes[letter] % math.prod(placement.mesh.shape[axis] for axis in axes):
      axes = axes[:-1]
    if axes:
      cuts[letter] = axes
    free -= set(axes)
  return cuts
