"""Cache of converted scoring networks, by the SHA-256 of their files.

The cache is `videogpt_jax/weights` in $XDG_CACHE_HOME (by default ~/.cache). It may be deleted at
any time.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Collection, Sequence

import numpy as np
import safetensors.numpy
from flax import nnx

from videogpt_jax.evaluation import network_state
from videogpt_jax.evaluation.weights import Provenance
from videogpt_jax.machine import cache_folder

_VERSION = 1  # of the conversion; part of the cache key


def load(
  name: str,
  files: Sequence[Provenance],
  build: Callable[[Collection[str]], nnx.Module],
  convert: Callable[[], nnx.Module],
) -> nnx.Module:
  """Returns the network of some weight files, from the cache if they were converted before.

  Args:
    name: of the network.
    files: of its weights.
    build: builds the network from the names of its parameters (`Mixed_3b.b0.kernel`).
    convert: converts the files to a network; called only if they are not cached.
  Raises:
    UserError: raised by `convert`.
  """
  cached = _place(name, files)
  try:
    arrays = safetensors.numpy.load_file(cached)
    by_path = {tuple(key.split('.')): array for key, array in arrays.items()}
    return network_state.fill(lambda: build(arrays), by_path, str(cached))
  except (OSError, ValueError, safetensors.SafetensorError):
    network = convert()  # not cached, or damaged
  _store(network, cached)
  return network


def _place(name: str, files: Sequence[Provenance]) -> pathlib.Path:
  content = ' '.join([str(_VERSION), *(file.sha256 for file in files)])
  key = hashlib.sha256(content.encode()).hexdigest()[:32]
  return cache_folder('weights') / f'{name}-{key}.safetensors'


def write_atomically(file: pathlib.Path, write: Callable[[pathlib.Path], None]):
  """Writes a file of the cache; where that is impossible, says so and goes on without.

  Args:
    file: to be written.
    write: writes it to the given path.
  """
  temporary = file.with_name(f'{file.name}.{os.getpid()}.tmp')
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    write(temporary)
    os.replace(temporary, file)
  except OSError as error:
    print(f'cannot cache {file} ({error.strerror or error})')


def _store(network: nnx.Module, file: pathlib.Path):
  flat = nnx.to_flat_state(nnx.state(network))
  arrays = {'.'.join(map(str, path)): np.asarray(variable[...]) for path, variable in flat}
  write_atomically(file, lambda temporary: safetensors.numpy.save_file(arrays, temporary))
