"""How arrays are sharded over the device mesh: two tables, so that models need not know.

Mesh axes: `data` shards the batch; `fsdp` the batch and the parameters; `tensor` heads and hidden
units; `sequence` the prior's positions, and its heads during attention.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh, create_hybrid_device_mesh
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from videogpt_jax.errors import UserError
from videogpt_jax.models.placement import placed
from videogpt_jax.training.paths import name_of

AXES = ('data', 'fsdp', 'tensor', 'sequence')

BATCH = P(('data', 'fsdp'))

RULES: tuple[tuple[str, P], ...] = (
  # The prior's blocks. The leading axis is the layer, for lax.scan.
  (r'blocks/(attn|cross_attn)/(query|key|value)/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/(attn|cross_attn)/out/kernel', P(None, 'tensor', 'fsdp')),
  (r'blocks/mlp_(in|gate)/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/mlp_in/bias', P(None, 'tensor')),
  (r'blocks/mlp_out/kernel', P(None, 'tensor', 'fsdp')),
  (r'fc_in/kernel', P(None, 'fsdp')),
  (r'fc_out/kernel', P('fsdp', 'tensor')),
  # The VQ-VAE's axial attention.
  (r'attn_[wht]/(query|key|value|out)/kernel', P('fsdp', None)),
  # Convolutions of the VQ-VAE and the frame conditioner: output channels.
  (r'(conv\w*|convs/\d+|convts/\d+|stem|proj_conv)/kernel', P(None, None, None, None, 'fsdp')),
)
"""Partition of a parameter, by the end of its name. Parameters that no rule matches are replicated.

An axis whose size the mesh axes do not divide is replicated too.
"""

ACTIVATIONS: dict[str, tuple[str, ...]] = {
  'B': ('data', 'fsdp'),
  # Positions are sharded between blocks, heads within attention: two all-to-all exchanges let every
  # device attend along whole sequences. Source: Jacobs et al. 2023 (arXiv 2309.14509).
  'N': ('tensor', 'sequence'),
  'L': ('sequence',),
  'F': ('tensor',),
  'Q': ('tensor',),
  'K': ('tensor',),
}
"""Mesh axes that shard each axis of an activation, see `models.placement.placed`.

B clips, N heads, L positions of the prior, F hidden units of its feed-forward layer, Q concatenated
heads of a position, K codes."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Number of devices along each mesh axis; one of them may be -1, for all that remain.

  Attributes:
    data: devices that share the clips of a batch.
    fsdp: devices that share the clips and the parameters, with their optimiser state.
    tensor: devices that share the prior's heads, hidden units and logits.
    sequence: devices that share the prior's positions.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  sequence: int = 1

  def __post_init__(self):
    sizes = dataclasses.astuple(self)
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
      raise UserError(f'mesh {sizes} must be positive sizes of ({", ".join(AXES)}), one -1 at most')


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
  """Arranges the devices (by default all devices of all hosts) as a mesh.

  On TPUs, neighbours along an axis are neighbours in the torus as far as the sizes allow. Several
  slices, which a slower network connects, divide the `data` axis between them.

  Raises:
    UserError: the axes do not multiply to the number of devices, or `data` does not span slices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = list(dataclasses.astuple(config))
  if -1 in sizes:
    sizes[sizes.index(-1)] = max(len(devices) // -math.prod(sizes), 1)
  if math.prod(sizes) != len(devices):
    raise UserError(
      f'mesh {dataclasses.astuple(config)} of ({", ".join(AXES)}) does not divide the '
      f'{len(devices)} devices; leave one axis at -1, or make the sizes multiply to {len(devices)}'
    )
  n_slices = len({getattr(d, 'slice_index', 0) for d in devices if d.platform == 'tpu'})
  if n_slices <= 1:
    return Mesh(create_device_mesh(sizes, devices, allow_split_physical_axes=True), AXES)
  if sizes[0] % n_slices:
    raise UserError(f'mesh.data ({sizes[0]}) must be divisible by the {n_slices} slices')
  inside, between = [sizes[0] // n_slices, *sizes[1:]], [n_slices, 1, 1, 1]
  grid = create_hybrid_device_mesh(inside, between, devices, allow_split_physical_axes=True)
  return Mesh(grid, AXES)


def check_batch(batch_size: int, mesh: Mesh, grad_accum_steps: int = 1, section: str = 'training'):
  """Refuses a global batch whose micro-batches do not divide over the mesh (UserError)."""
  shares = mesh.shape['data'] * mesh.shape['fsdp'] * grad_accum_steps
  if batch_size % shares:
    sizes = sorted({max(batch_size // shares, 1) * shares, -(-batch_size // shares) * shares})
    micro = f' * grad_accum_steps ({grad_accum_steps})' if grad_accum_steps > 1 else ''
    raise UserError(
      f'{section}.batch_size ({batch_size}) must be divisible by the mesh axes data * fsdp '
      f'({shares // grad_accum_steps}){micro}; use {" or ".join(map(str, sizes))}'
    )


def check_prior(n_heads: int, length: int, mesh: Mesh):
  """Refuses a prior whose heads or positions do not divide over the mesh (UserError).

  Args:
    n_heads: heads of its attention.
    length: codes of a clip.
    mesh: devices to train on.
  """
  tensor, sequence = mesh.shape['tensor'], mesh.shape['sequence']
  shares = tensor * sequence
  if n_heads % shares:
    raise UserError(
      f'prior.n_heads ({n_heads}) must be divisible by the mesh axes tensor * sequence ({tensor} * '
      f'{sequence}); use {-(-n_heads // shares) * shares} heads, or axes whose product divides '
      f'{n_heads}, and give the devices to mesh.fsdp or mesh.data'
    )
  if length % sequence:
    options = [n for n in range(1, sequence) if length % n == 0]
    raise UserError(
      f'the {length} codes of a clip must be divisible by mesh.sequence ({sequence}); use one of '
      f'{options}'
    )


def on_mesh(f: Callable, mesh: Mesh) -> Callable:
  """Returns f, to be compiled, with its activations sharded over the mesh by `ACTIVATIONS`."""

  @functools.wraps(f)
  def wrapped(*args, **kwargs):
    with placed(mesh, ACTIVATIONS):
      return f(*args, **kwargs)

  return wrapped


def shardings(tree: Any, mesh: Mesh) -> Any:
  """Returns the NamedSharding of every array (or its shape) in `tree`, by `RULES`.

  Names of optimiser moments and averaged parameters end in their parameter's name, so one table
  serves all.
  """

  def sharding_of(path, leaf):
    name = name_of(path)
    spec = next((spec for rule, spec in RULES if re.search(rule + '$', name)), P())
    if len(spec) != leaf.ndim:
      spec = P()
    fits = (
      axis if axis is None or size % mesh.shape[axis] == 0 else None
      for axis, size in zip(spec, leaf.shape, strict=False)
    )
    return NamedSharding(mesh, P(*fits))

  return jax.tree_util.tree_map_with_path(sharding_of, tree)


def shard(tree: Any, shardings: Any) -> Any:
  """Puts arrays onto their devices.

  Args:
    tree: arrays; every process holds them whole, or they are on the same devices already.
    shardings: one for each array, or one for all.
  """

  def put(x, sharding):
    if isinstance(x, jax.Array) and x.sharding.device_set == sharding.device_set:
      return jax.device_put(x, sharding)
    # Through the host's memory, since a device cannot write to another host's devices.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.asarray(x)[index])

  if isinstance(shardings, NamedSharding):
    shardings = jax.tree.map(lambda _: shardings, tree)
  return jax.tree.map(put, tree, shardings)


def host_share(mesh: Mesh, process_index: int | None = None) -> tuple[int, int]:
  """Returns the index of the share of each global batch that a process feeds, and their number.

  Hosts whose devices hold the same clips, as when `tensor` spans hosts, feed the same share.

  Args:
    mesh: devices of all hosts.
    process_index: index of the process; by default this one.
  Raises:
    UserError: hosts would hold the same clips only in part.
  """
  held = collections.defaultdict(set)
  rows = mesh.devices.reshape(mesh.shape['data'] * mesh.shape['fsdp'], -1)
  for row, devices in enumerate(rows):
    for device in devices:
      held[device.process_index].add(row)
  shares = sorted({tuple(sorted(rows_of_one)) for rows_of_one in held.values()})
  if sum(map(len, shares)) != len(rows) or len({len(share) for share in shares}) > 1:
    raise UserError(
      f'mesh {tuple(mesh.shape.values())} of ({", ".join(AXES)}) cuts across hosts, which would '
      'hold the same clips in part; make tensor * sequence divide the devices of a host, or be a '
      'multiple of them'
    )
  mine = held[jax.process_index() if process_index is None else process_index]
  return shares.index(tuple(sorted(mine))), len(shares)


def shard_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Puts this host's share of a batch onto its devices and returns the global batch."""
  sharding = NamedSharding(mesh, BATCH)
  return {
    name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()
  }
