"""Where arrays live on the device mesh. Models know nothing of it; these tables do.

Mesh axes: `data` holds shares of the batch; `fsdp` shares of the batch and of the parameters;
`tensor` shares of heads and hidden units; `sequence` shares of the prior's positions, and of its
heads while they attend.
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

from videogpt_jax.models.placement import placed

AXES = ('data', 'fsdp', 'tensor', 'sequence')

BATCH = P(('data', 'fsdp'))

RULES: tuple[tuple[str, P], ...] = (
  # The prior's blocks; the leading axis is the layer, for lax.scan.
  (r'blocks/(attn|cross_attn)/(query|key|value)/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/(attn|cross_attn)/out/kernel', P(None, 'tensor', 'fsdp')),
  (r'blocks/mlp_(in|gate)/kernel', P(None, 'fsdp', 'tensor')),
  (r'blocks/mlp_in/bias', P(None, 'tensor')),
  (r'blocks/mlp_out/kernel', P(None, 'tensor', 'fsdp')),
  (r'fc_in/kernel', P(None, 'fsdp')),
  (r'fc_out/kernel', P('fsdp', 'tensor')),
  # The VQ-VAE's axial attention.
  (r'attn_[wht]/(query|key|value|out)/kernel', P('fsdp', None)),
  # Convolutions, of the VQ-VAE and of the frame conditioner: output channels.
  (r'(conv\w*|convs/\d+|convts/\d+|stem|proj_conv)/kernel', P(None, None, None, None, 'fsdp')),
)
"""Partition of a parameter by the end of its path; what no rule names is replicated.

An axis of an array that its mesh axes do not divide is replicated as well.
"""

ACTIVATIONS: dict[str, tuple[str, ...]] = {
  'B': ('data', 'fsdp'),
  # Between blocks positions are cut, and within attention heads: two all-to-all exchanges, after
  # which every device attends along whole sequences. Source: Jacobs et al. 2023 (arXiv 2309.14509).
  'N': ('tensor', 'sequence'),
  'L': ('sequence',),
  'F': ('tensor',),
  'Q': ('tensor',),
  'K': ('tensor',),
}
"""Which mesh axes share out which axis of an activation, see `models.placement.placed`.

B clips, N heads, L positions of the prior, F hidden units of its feed-forward, Q all heads of a
position side by side, K codes to choose from."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis of the mesh; -1, for one of them, takes all that are left."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  sequence: int = 1

  def __post_init__(self):
    sizes = dataclasses.astuple(self)
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
      raise ValueError(
        f'mesh {sizes} must be positive sizes of ({", ".join(AXES)}), one -1 at most'
      )


def make_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
  """Arranges the devices (by default all, of all hosts) as a mesh.

  On TPUs neighbours along an axis are neighbours in the torus, as far as the sizes allow, and of
  several slices, between which the network is slow, each holds shares of `data`.

  Raises:
    ValueError: the axes do not multiply to the number of devices, or `data` does not span slices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = list(dataclasses.astuple(config))
  if -1 in sizes:
    sizes[sizes.index(-1)] = max(len(devices) // -math.prod(sizes), 1)
  if math.prod(sizes) != len(devices):
    raise ValueError(
      f'mesh {dataclasses.astuple(config)} of ({", ".join(AXES)}) does not divide the '
      f'{len(devices)} devices; leave one axis at -1, or make the sizes multiply to {len(devices)}'
    )
  n_slices = len({getattr(d, 'slice_index', 0) for d in devices if d.platform == 'tpu'})
  if n_slices <= 1:
    return Mesh(create_device_mesh(sizes, devices, allow_split_physical_axes=True), AXES)
  if sizes[0] % n_slices:
    raise ValueError(f'mesh.data ({sizes[0]}) must be divisible by the {n_slices} slices')
  inside, between = [sizes[0] // n_slices, *sizes[1:]], [n_slices, 1, 1, 1]
  grid = create_hybrid_device_mesh(inside, between, devices, allow_split_physical_axes=True)
  return Mesh(grid, AXES)


def check_batch(batch_size: int, mesh: Mesh, grad_accum_steps: int = 1, section: str = 'training'):
  """Refuses a global batch that the mesh cannot share out, in each micro-batch (ValueError)."""
  shares = mesh.shape['data'] * mesh.shape['fsdp'] * grad_accum_steps
  if batch_size % shares:
    sizes = sorted({max(batch_size // shares, 1) * shares, -(-batch_size // shares) * shares})
    micro = f' * grad_accum_steps ({grad_accum_steps})' if grad_accum_steps > 1 else ''
    raise ValueError(
      f'{section}.batch_size ({batch_size}) must be divisible by the mesh axes data * fsdp '
      f'({shares // grad_accum_steps}){micro}; use {" or ".join(map(str, sizes))}'
    )


def check_prior(n_heads: int, length: int, mesh: Mesh):
  """Refuses a prior whose heads or positions the mesh cannot share out (ValueError).

  Args:
    n_heads: of its attention.
    length: codes of a clip.
    mesh: to train on.
  """
  tensor, sequence = mesh.shape['tensor'], mesh.shape['sequence']
  shares = tensor * sequence
  if n_heads % shares:
    raise ValueError(
      f'prior.n_heads ({n_heads}) must be divisible by the mesh axes tensor * sequence ({tensor} * '
      f'{sequence}); use {-(-n_heads // shares) * shares} heads, or axes whose product divides '
      f'{n_heads}, and give the devices to mesh.fsdp or mesh.data'
    )
  if length % sequence:
    options = [n for n in range(1, sequence) if length % n == 0]
    raise ValueError(
      f'the {length} codes of a clip must be divisible by mesh.sequence ({sequence}); sizes below '
      f'that do: {options}'
    )


def on_mesh(f: Callable, mesh: Mesh) -> Callable:
  """Returns f, to be compiled, with its activations placed on the mesh by `ACTIVATIONS`."""

  @functools.wraps(f)
  def wrapped(*args):
    with placed(mesh, ACTIVATIONS):
      return f(*args)

  return wrapped


def shardings(tree: Any, mesh: Mesh) -> Any:
  """Returns the NamedSharding of every array (or its shape) in `tree`, by `RULES`.

  Optimiser moments and averaged parameters are stored under the paths of their parameters, so that
  one table places them all.
  """

  def place(path, leaf):
    # A path may end in '.value', of what holds the array; attention's `value` stands before that.
    names = [str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path]
    name = '/'.join(names).removesuffix('/value')
    spec = next((spec for rule, spec in RULES if re.search(rule + '$', name)), P())
    if len(spec) != leaf.ndim:
      spec = P()
    fits = (
      axis if axis is None or size % mesh.shape[axis] == 0 else None
      for axis, size in zip(spec, leaf.shape, strict=False)
    )
    return NamedSharding(mesh, P(*fits))

  return jax.tree_util.tree_map_with_path(place, tree)


def place(tree: Any, places: Any) -> Any:
  """Puts arrays where `places` says: a sharding for each of them, or one for all.

  Every process holds them whole, or they lie on the same devices already.
  """

  def put(x, sharding):
    if isinstance(x, jax.Array) and x.sharding.device_set == sharding.device_set:
      return jax.device_put(x, sharding)
    # Through the host's memory, as a device of one host cannot write to those of another.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: np.asarray(x)[index])

  if isinstance(places, NamedSharding):
    places = jax.tree.map(lambda _: places, tree)
  return jax.tree.map(put, tree, places)


def host_share(mesh: Mesh, process_index: int | None = None) -> tuple[int, int]:
  """Returns which share of each global batch a process feeds, and of how many.

  Hosts whose devices hold the same clips, as where `tensor` spans hosts, feed the same share.

  Args:
    mesh: of the devices of all hosts.
    process_index: of the process; by default this one.
  Raises:
    ValueError: the axes are laid over the hosts so that some share only a part of their clips.
  """
  held = collections.defaultdict(set)
  rows = mesh.devices.reshape(mesh.shape['data'] * mesh.shape['fsdp'], -1)
  for row, devices in enumerate(rows):
    for device in devices:
      held[device.process_index].add(row)
  shares = sorted({tuple(sorted(rows_of_one)) for rows_of_one in held.values()})
  if sum(map(len, shares)) != len(rows) or len({len(share) for share in shares}) > 1:
    raise ValueError(
      f'mesh {tuple(mesh.shape.values())} of ({", ".join(AXES)}) cuts across hosts, which would '
      'hold the same clips in part; make tensor * sequence divide the devices of a host, or be a '
      'multiple of them'
    )
  mine = held[jax.process_index() if process_index is None else process_index]
  return shares.index(tuple(sorted(mine))), len(shares)


def shard_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """Puts this host's share of a batch onto its devices; the result is the global batch."""
  sharding = NamedSharding(mesh, BATCH)
  return {
    name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()
  }
