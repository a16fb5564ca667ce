"""Scoring networks that have been converted once, found again by the SHA-256 of their files.

They lie in `videogpt_jax/weights` of the user's cache folder ($XDG_CACHE_HOME, by default ~/.cache)
and may be deleted at any time.
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

_VERSION = 1  # of what conversion computes; a change of it must not find what was converted before


def load(
  name: str,
  files: Sequence[Provenance],
  build: Callable[[Collection[str]], nnx.Module],
  convert: Callable[[], nnx.Module],
) -> nnx.Module:
  """Returns the network of some files of weights, converted now or earlier.

  Args:
    name: the network's.
    files: what the weights come from.
    build: makes the network, given the names of its parameters (`Mixed_3b.b0.kernel`).
    convert: makes it from the files; called only if that has not been done before.
  Raises:
    ValueError, FileNotFoundError: of `convert`.
  """
  cached = _place(name, files)
  try:
    arrays = safetensors.numpy.load_file(cached)
    by_path = {tuple(key.split('.')): array for key, array in arrays.items()}
    return network_state.fill(lambda: build(arrays), by_path, str(cached))
  except (OSError, ValueError, safetensors.SafetensorError):
    network = convert()  # nothing is there, or nothing whole
  _store(network, cached)
  return network


def _place(name: str, files: Sequence[Provenance]) -> pathlib.Path:
  content = ' '.join([str(_VERSION), *(file.sha256 for file in files)])
  key = hashlib.sha256(content.encode()).hexdigest()[:32]
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'videogpt_jax' / 'weights' / f'{name}-{key}.safetensors'


def _store(network: nnx.Module, file: pathlib.Path):
  """Writes the parameters; where the folder cannot be written to, they are converted each time."""
  flat = nnx.to_flat_state(nnx.state(network))
  arrays = {'.'.join(map(str, path)): np.asarray(variable[...]) for path, variable in flat}
  temporary = file.with_name(f'{file.name}.{os.getpid()}.tmp')
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(arrays, temporary)
    os.replace(temporary, file)
  except OSError as error:
    print(f'not kept for the next time: {file} ({error.strerror or error})')
