"""A trained network as a value: its graph and its arrays."""

import dataclasses
import functools
import hashlib
from typing import Generic, TypeVar

import jax
import numpy as np
from flax import nnx

Module = TypeVar('Module', bound=nnx.Module)


@functools.partial(jax.tree_util.register_dataclass, data_fields=['state'], meta_fields=['graph'])
@dataclasses.dataclass(frozen=True)
class Trained(Generic[Module]):
  """A network that a compiled program takes as an argument.

  Attributes:
    graph: its structure, static under `jit`.
    state: all of its arrays, or their shapes.
  """

  graph: nnx.GraphDef
  state: nnx.State

  def module(self) -> Module:
    """Returns the network itself, a new one at each call."""
    return nnx.merge(self.graph, self.state)

  @functools.cached_property
  def digest(self) -> str:
    """SHA-256 of all arrays with their names: tells two trained networks apart."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(self.state):
      name = jax.tree_util.keystr(path, simple=True, separator='/').removesuffix('/value')
      digest.update(f'{name} {leaf.dtype} {leaf.shape} '.encode())
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def trained(module: Module) -> Trained[Module]:
  """Returns a network as a value; of an abstract one, its shapes."""
  return Trained(*nnx.split(module))
