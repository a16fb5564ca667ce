"""Where arrays live on the device mesh. Models know nothing of it; this table does.

Mesh axes: `data` holds shares of the batch; `fsdp` shares of the batch and of the parameters;
`tensor` shares of heads and hidden units.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ('data', 'fsdp', 'tensor')

BATCH = P(('data', 'fsdp'))

RULES: tuple[tuple[str, P], ...] = (
  # The prior's blocks; the leading axis is the layer, for lax.scan.
  (r'blocks/(attn|cross_attn)/(query|key|value)/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/(attn|cross_attn)/out/kernel', P(None, 'tensor', 'fsdp')),
  (r'blocks/mlp_in/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/mlp_in/bias', P(None, 'tensor')),
  (r'blocks/mlp_out/kernel', P(None, 'tensor', 'fsdp')),
  (r'fc_in/kernel', P(None, 'fsdp')),
  (r'fc_out/kernel', P('fsdp', 'tensor')),
  # Convolutions, of the VQ-VAE and of the frame conditioner: output channels.
  (r'(conv\w*|convs/\d+|convts/\d+|stem|proj_conv)/kernel', P(None, None, None, None, 'fsdp')),
)
"""Partition of a parameter by the end of its path; what no rule names is replicated.

An axis of an array that its mesh axes do not divide is replicated as well.
"""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis of the mesh; -1, for one of them, takes all that are left."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1

  def __post_init__(self):
    sizes = dataclasses.astuple(self)
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
      raise ValueError(
        f'mesh {sizes} must be positive sizes of (data, fsdp, tensor), one -1 at most'
      )


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
  """Arranges the devices (by default all, of all hosts) as a mesh.

  Raises:
    ValueError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = list(dataclasses.astuple(config))
  if -1 in sizes:
    sizes[sizes.index(-1)] = max(len(devices) // -math.prod(sizes), 1)
  if math.prod(sizes) != len(devices):
    raise ValueError(
      f'mesh {dataclasses.astuple(config)} of (data, fsdp, tensor) does not divide the '
      f'{len(devices)} devices; leave one axis at -1, or make the sizes multiply to {len(devices)}'
    )
  return Mesh(np.asarray(devices).reshape(sizes), AXES)


def check_batch(batch_size: int, mesh: Mesh):
  """Refuses a global batch that the mesh cannot share out (ValueError)."""
  shares = mesh.shape['data'] * mesh.shape['fsdp']
  if batch_size % shares:
    raise ValueError(
      f'batch_size ({batch_size}) must be divisible by the mesh axes data * fsdp ({shares}); use '
      f'{max(batch_size // shares, 1) * shares} or {-(-batch_size // shares) * shares}'
    )


def shardings(tree: Any, mesh: Mesh) -> Any:
  """Returns the NamedSharding of every array (or its shape) in `tree`, by `RULES`.

  Optimiser moments and averaged parameters are stored under the paths of their parameters, so that
  one table places them all.
  """

  def place(path, leaf):
    # A path ends in '.value' or so, whatever holds the array; the names are what counts.
    names = [str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path]
    name = '/'.join(n for n in names if n != 'value')
    spec = next((spec for rule, spec in RULES if re.search(rule + '$', name)), P())
    if len(spec) != leaf.ndim:
      spec = P()
    fits = (
      axis if axis is None or size % mesh.shape[axis] == 0 else None
      for axis, size in zip(spec, leaf.shape, strict=False)
    )
    return NamedSharding(mesh, P(*fits))

  return jax.tree_util.tree_map_with_path(place, tree)


def shard_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Puts this host's share of a batch onto its devices; the result is the global batch."""
  sharding = NamedSharding(mesh, BATCH)
  return {
    name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()
  }
