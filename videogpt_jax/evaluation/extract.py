"""Runs a function on batches of clips, split over this host's devices."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Extractor:
  """A jitted function from arrays of clips to an array of features, a network's or any other.

  The batch is split over the devices and the weights are replicated. If the devices do not divide a
  batch, or it is smaller than the first, it is padded with copies of its last clip, and their
  results are dropped.

  Args:
    function: (*arrays [N ...]) -> array [N ...], independently for each clip. With a network, its
      first argument is the network.
    network: the module, or None.
    devices: this host's by default.
  """

  def __init__(
    self,
    function: Callable[..., jax.Array],
    network: nnx.Module | None = None,
    devices: Sequence[jax.Device] | None = None,
  ):
    mesh = Mesh(np.array(devices or jax.local_devices()), ('clips',))
    self._n_devices = mesh.size
    self._split = NamedSharding(mesh, PartitionSpec('clips'))
    graph, state = nnx.split([] if network is None else [network])
    self._state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    self._run = jax.jit(lambda state, *arrays: function(*nnx.merge(graph, state), *arrays))
    self._padded_size = 0

  def __call__(self, *arrays: np.ndarray) -> np.ndarray:
    """Returns the features of a batch, float32 [N ...], for arrays [N ...] of the same N."""
    n = len(arrays[0])
    self._padded_size = max(self._padded_size, -(-n // self._n_devices) * self._n_devices)
    indices = np.minimum(np.arange(self._padded_size), n - 1)
    padded = [jax.device_put(np.asarray(array)[indices], self._split) for array in arrays]
    return np.asarray(self._run(self._state, *padded))[:n]
