"""Models name the axes of their activations; a mesh and a table place them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from videogpt_jax.models.placement import constrain, per_shard, placed

TABLE = {'B': ('data', 'fsdp'), 'N': ('tensor', 'sequence'), 'L': ('sequence',)}
X = jnp.arange(4 * 6 * 8 * 3.0).reshape(4, 6, 8, 3)


@pytest.fixture
def mesh():
  devices = np.array(jax.devices()).reshape(2, 1, 2, 2)
  return Mesh(devices, ('data', 'fsdp', 'tensor', 'sequence'))


def where(mesh, x, axes, table=TABLE):
  """The partition of x after `constrain`, as compiled."""

  def f(x):
    with placed(mesh, table):
      return constrain(x, axes)

  return jax.jit(f)(x).sharding.spec


def test_without_a_placement_nothing_happens():
  assert constrain(X, 'B L N d') is X
  double = lambda x: 2 * x
  assert per_shard(double, ('B L N d',), 'B L N d') is double
  with placed(Mesh(jax.devices()[:1], 'data'), TABLE):
    assert constrain(X, 'B L N d') is X


def test_a_mesh_axis_serves_the_first_letter_of_the_table(mesh):
  assert where(mesh, X[:, :, 0], 'B L D') == P('data', 'sequence')
  assert where(mesh, X, 'B L N d') == P('data', None, ('tensor', 'sequence'))


def test_what_the_mesh_does_not_divide_is_left_whole(mesh):
  assert where(mesh, X[:3], 'B L N d') == P(None, None, ('tensor', 'sequence'))
  # Six heads are cut by the first of the two axes alone, and the other is left for positions.
  assert where(mesh, jnp.ones((4, 8, 6, 3)), 'B L N d') == P('data', 'sequence', 'tensor')


def test_a_wrong_number_of_letters_is_noticed(mesh):
  with pytest.raises(ValueError), placed(mesh, TABLE):
    constrain(X, 'B L D')


def test_per_shard_hands_each_device_its_share_and_puts_results_together(mesh):
  seen = []

  def kernel(q, k, scale):
    seen.append((q.shape, k.shape))
    assert constrain(q, 'B L N d') is q  # a share is whole to its device
    return scale * jnp.einsum('BLNd,BSNd->BLNS', q, k)

  k = X[:, :5] / 7

  def f(q, k, scale):
    with placed(mesh, TABLE):
      return per_shard(kernel, ('B L N d', 'B S N d', ''), 'B L N S')(q, k, scale)

  y = jax.jit(f)(X, k, 0.5)
  assert ((2, 6, 2, 3), (2, 5, 2, 3)) in seen
  np.testing.assert_allclose(y, kernel(X, k, 0.5), rtol=1e-6)


def test_gradients_pass_through(mesh):
  def loss(x):
    with placed(mesh, TABLE):
      y = per_shard(jnp.square, ('B L N d',), 'B L N d')(constrain(x, 'B L N d'))
      return jnp.sum(y)

  np.testing.assert_allclose(jax.jit(jax.grad(loss))(X), 2 * X)
