"""Meshes of TPU slices: neighbours along an axis, shares of hosts, several slices."""

import itertools

import numpy as np
import pytest
from jax.experimental import topologies

from videogpt_jax.planning import compiler
from videogpt_jax.planning.chips import parse_topology
from videogpt_jax.training.sharding import MeshConfig, host_share, make_mesh

pytestmark = pytest.mark.skipif(bool(compiler.missing()), reason=compiler.MISSING)


def mesh_of(topology, sizes):
  return make_mesh(MeshConfig(*sizes), compiler.devices(parse_topology(topology)))


def hops(mesh, axis):
  """Mean distance on the torus of a device to the next one along an axis."""
  coords = np.array([device.coords for device in mesh.devices.flat]).reshape(*mesh.devices.shape, 3)
  sides = coords.reshape(-1, 3).max(axis=0) + 1
  apart = np.abs(coords - np.roll(coords, -1, axis=axis))
  return np.minimum(apart, sides - apart).sum(axis=-1).mean()


@pytest.mark.parametrize(
  ('topology', 'sizes'), [('v5p:4x4x4', (4, 4, 4)), ('v5p:4x4x8', (8, 4, 4)), ('v5e:4x8', (4, 8))]
)
def test_an_axis_as_long_as_a_side_lies_along_it(topology, sizes):
  mesh = mesh_of(topology, sizes)
  assert [hops(mesh, axis) for axis in range(len(sizes))] == [1] * len(sizes)


def power_of_two_meshes(n):
  sizes = [2**i for i in range(n.bit_length())]
  return [s for s in itertools.product(sizes, repeat=4) if np.prod(s) == n]


@pytest.mark.parametrize('topology', ['v5p:4x4x4', 'v5e:4x8', 'v4:2x2x4'])
def test_the_hosts_share_out_the_batch_on_every_mesh(topology):
  devices = compiler.devices(parse_topology(topology))
  hosts = {device.process_index for device in devices}
  for sizes in power_of_two_meshes(len(devices)):
    mesh = make_mesh(MeshConfig(*sizes), devices)
    found = {host_share(mesh, host) for host in hosts}
    [count] = {count for _, count in found}
    assert {index for index, _ in found} == set(range(count))
    assert (mesh.shape['data'] * mesh.shape['fsdp']) % count == 0


def test_of_several_slices_each_has_its_shares_of_data():
  devices = list(topologies.get_topology_desc('v5e:2x4', 'tpu', num_slices=2).devices)
  mesh = make_mesh(MeshConfig(data=4, fsdp=4), devices)
  slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
  assert {tuple(np.unique(part)) for part in np.split(slices, 2)} == {(0,), (1,)}
  with pytest.raises(ValueError, match=r'mesh.data \(1\) must be divisible by the 2 slices'):
    make_mesh(MeshConfig(data=1, fsdp=16), devices)
