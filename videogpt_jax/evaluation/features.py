"""Features of the clips of a set, and their cache.

Features of reference clips are kept in `videogpt_jax/features` in $XDG_CACHE_HOME (by default
~/.cache), by network and by the digest of the set, so that each real clip goes through a network
once. The files may be deleted at any time, and one may be scored against in place of its clips.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import safetensors.numpy

from videogpt_jax import files, typed
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation.clip_sets import ClipConfig, Clips, open_clips
from videogpt_jax.evaluation.converted import write_atomically
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.interop import safetensors_file
from videogpt_jax.machine import cache_folder
from videogpt_jax.progress import ProgressLine

_TEXTS = ('network', 'lossy', 'digest')
"""What a file of features says of them, besides the size of the clips."""


@dataclasses.dataclass(frozen=True)
class Features:
  """Features of some clips of a set.

  Attributes:
    indices: int64 [n], the clips, sorted.
    values: float32 [n D].
  """

  indices: np.ndarray
  values: np.ndarray

  def places(self, clips: np.ndarray) -> np.ndarray:
    """Returns where the features of clips are in `values`; int, of the shape of `clips`."""
    return np.searchsorted(self.indices, clips)


@dataclasses.dataclass(frozen=True)
class StoredSet:
  """A set of clips of which only the features are there.

  Attributes:
    origin: file that holds them.
    features: of all clips.
    network: identity of the network.
    size: (T, H, W, C) of the clips.
    lossy: see `Clips`.
    digest: of the clips.
  """

  origin: str
  features: Features
  network: str
  size: tuple[int, ...]
  lossy: str
  digest: str

  def __len__(self) -> int:
    return len(self.features.indices)


def extract(
  clips: Clips,
  wanted: np.ndarray,
  networks: Mapping[str, Callable[[np.ndarray], np.ndarray]],
  batch_size: int = 16,
) -> dict[str, Features]:
  """Runs networks on clips of a set, each clip read once; without networks only reads them.

  Args:
    clips: the set.
    wanted: int, of any shape, the clips.
    networks: by name, uint8 [N T H W 3] -> float32 [N D].
    batch_size: N.
  """
  indices = np.unique(wanted)
  parts, line = {name: [] for name in networks}, ProgressLine()
  for start in range(0, len(indices), batch_size):
    video = clips.read(indices[start : start + batch_size])
    for name, network in networks.items():
      parts[name].append(network(video))
      check_widths(parts[name][0], parts[name][-1], clips.origin)
    if networks:
      line.show(f'{clips.origin}: features of {start + len(video)}/{len(indices)} clips')
  line.close()
  return {
    name: Features(indices, np.concatenate(rows) if rows else np.zeros((0, 1), np.float32))
    for name, rows in parts.items()
  }


def of_reference(
  clips: Clips | StoredSet, wanted: np.ndarray, network: FeatureNetwork, batch_size: int = 16
) -> StoredSet:
  """Returns the features of the wanted reference clips, computing only those the cache lacks.

  The cache holds features of networks with files, which identify them, and of no others.

  Raises:
    UserError: the stored features are of another network.
  """
  if isinstance(clips, StoredSet):
    if clips.network != network.identity:
      raise UserError(
        f'{clips.origin} holds features of another network or input ({clips.network}, not '
        f'{network.identity}); save them again with the network that you score with'
      )
    return clips
  digest = clips.digest()
  key = hashlib.sha256(f'{network.identity} {digest}'.encode()).hexdigest()[:32]
  file = cache_folder('features') / f'{network.name}-{key}.safetensors'
  found = _found(file) if network.files else None
  known = np.isin(wanted, found.indices) if found else np.zeros(np.shape(wanted), bool)
  if not known.all():
    new = extract(clips, np.asarray(wanted)[~known], {'': network}, batch_size)['']
    if found:
      check_widths(found.values, new.values, clips.origin)
    found = _merged(found, new) if found else new
  size = clips.read([0]).shape[1:]
  stored = StoredSet(clips.origin, found, network.identity, size, clips.lossy, digest)
  if network.files and not known.all():
    write_atomically(file, lambda temporary: temporary.write_bytes(_as_file(stored)))
  wanted = np.unique(wanted)  # the cache may hold more, from other evaluations
  features = Features(wanted, found.values[found.places(wanted)])
  return dataclasses.replace(stored, features=features)


def check_widths(a: np.ndarray, b: np.ndarray, origin: str) -> None:
  """Refuses features of different numbers, [N D] each (UserError)."""
  if a.shape[1] != b.shape[1]:
    raise UserError(
      f'the feature network gives {a.shape[1]} features for some clips and {b.shape[1]} for others '
      f'of {origin}; it must give all clips the same number'
    )


def _merged(a: Features, b: Features) -> Features:
  indices = np.concatenate([a.indices, b.indices])
  order = np.argsort(indices)
  return Features(indices[order], np.concatenate([a.values, b.values])[order])


def save(stored: StoredSet, file: pathlib.Path) -> None:
  """Writes features of a set of clips, and what they are of (UserError: it is impossible)."""
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot write {file} ({error.strerror}); choose another') from error
  files.replace(file, _as_file(stored))


def _as_file(stored: StoredSet) -> bytes:
  about = {key: getattr(stored, key) for key in _TEXTS} | {'size': json.dumps(list(stored.size))}
  arrays = dataclasses.asdict(stored.features)
  return safetensors.numpy.save(arrays, {'videogpt_jax_features': json.dumps(about)})


def open_stored(file: pathlib.Path) -> StoredSet:
  """Opens a file of features.

  Raises:
    UserError: it holds no features.
  """
  try:
    arrays, metadata = safetensors_file.read(file)
    about = json.loads(metadata['videogpt_jax_features'])
    about = {'size': json.loads(about['size'])} | {key: about[key] for key in _TEXTS}
    values = arrays['values']
    if values.ndim != 2 or values.dtype != np.float32 or not np.isfinite(values).all():
      raise ValueError(f'values are {values.dtype} {list(values.shape)}, or not finite')
  except (OSError, TypeError, KeyError, ValueError, RecursionError) as error:
    raise UserError(
      f'cannot read {file} as features of clips ({error}); make one with --save_reference'
    ) from error
  hints = dict.fromkeys(_TEXTS, str) | {'size': tuple[int, ...]}
  about = {key: typed.read(about[key], hint, f'{file}: {key}') for key, hint in hints.items()}
  # In a set of its own, a clip's number is its place.
  return StoredSet(str(file), Features(np.arange(len(values)), values), **about)


def open_reference(path: str, config: ClipConfig | None = None) -> Clips | StoredSet:
  """Opens reference clips, or a file of their features (`.safetensors`)."""
  if path.endswith('.safetensors'):
    return open_stored(pathlib.Path(path))
  return open_clips(path, config)


def _found(file: pathlib.Path) -> Features | None:
  """Returns cached features, or None if there are none or they are damaged."""
  try:
    arrays, _ = safetensors_file.read(file)
    return Features(arrays['indices'], arrays['values'])
  except (KeyError, OSError, UserError):
    return None
