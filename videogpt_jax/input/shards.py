"""TFRecord shards read by record number, and the manifest that says where each record lies.

A record is a tf.train.Example with these features (the manifest may give other names):
  frames: bytes [n], one image each: raw uint8 [h w 3], or a PNG or JPEG file; or, instead,
  codes: bytes [n], one encoded crop each: int32 [t h w], little-endian;
  shape: int64 [3], shape of raw frames or of codes;
  label: int64 [1], optional;
  actions: float [n * A], optional, by frame;
  first_frames: bytes [n], optional, with codes: uint8 [n_cond_frames h w 3] of each crop.
"""

import concurrent.futures
import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from videogpt_jax import shipped, typed
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.input.clips import resolve, tell_skipped

MANIFEST = 'manifest.json'
ENCODINGS = ('raw', 'png', 'jpeg', 'codes')


@dataclasses.dataclass(frozen=True)
class Shard:
  """One file of records.

  Attributes:
    file: name, relative to the manifest.
    n_bytes: size of the file.
    sha256: digest of its content.
    offsets: first byte of each record.
    lengths: number of frames (or encoded crops) in each record.
  """

  file: str
  n_bytes: int
  sha256: str
  offsets: Sequence[int]
  lengths: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Manifest:
  """What a directory of shards holds.

  Attributes:
    encoding: content of the records: 'raw', 'png', 'jpeg' or 'codes'.
    shape: shape of one frame (h w 3), or of the codes of one clip (t h w).
    splits: shards of each split.
    class_names: names of the labels, or None.
    action_dim: size of an action, or None.
    made_from: how the shards were made.
    skipped: one line for each recording that could not be used.
    frames_key, actions_key: names of these features.
    action_names: of the choices, where actions are one-hot, or None.
    same_size: whether all frames are known to have `shape`, as raw ones do anyway.
  """

  encoding: str
  shape: Sequence[int]
  splits: dict[str, Sequence[Shard]]
  class_names: Sequence[str] | None = None
  action_dim: int | None = None
  made_from: dict = dataclasses.field(default_factory=dict)
  skipped: Sequence[str] = ()
  frames_key: str = 'frames'
  actions_key: str = 'actions'
  same_size: bool = False
  action_names: Sequence[str] | None = None

  def totals(self) -> dict[str, dict[str, int]]:
    """Returns the number of clips and frames in each split."""
    return {
      split: {
        'clips': sum(len(shard.offsets) for shard in shards),
        'frames': sum(sum(shard.lengths) for shard in shards),
      }
      for split, shards in self.splits.items()
    }

  def save(self, directory: str):
    """Writes the manifest as JSON, atomically, with the totals of each split for readers."""
    text = json.dumps({'totals': self.totals()} | dataclasses.asdict(self))
    partial = tf.io.gfile.join(directory, f'.{MANIFEST}')
    with tf.io.gfile.GFile(partial, 'w') as file:
      file.write(text)
    tf.io.gfile.rename(partial, tf.io.gfile.join(directory, MANIFEST), overwrite=True)
    load_manifest.cache_clear()


@functools.lru_cache(maxsize=8)
def load_manifest(directory: str) -> Manifest:
  """Returns the manifest of a directory.

  Raises:
    UserError: there is no such directory, or no readable manifest in it.
  """
  if not tf.io.gfile.isdir(directory):
    raise UserFileError(f'dataset.path ({directory}) is no directory; name one of shards')
  path = tf.io.gfile.join(directory, MANIFEST)
  if not tf.io.gfile.exists(path):
    raise UserFileError(
      f'{directory} has no {MANIFEST}; make shards, or index your own: '
      f'{shipped.PREPARE} --index={directory}'
    )
  try:
    with tf.io.gfile.GFile(path) as file:
      fields = json.load(file)
    del fields['totals']
    splits = {
      split: tuple(_shard(**shard) for shard in shards)
      for split, shards in fields['splits'].items()
    }
    return _checked(Manifest(**fields | {'splits': splits}))
  except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
    raise UserError(f'{path} cannot be read ({error}); make the shards again') from error


def _shard(file, n_bytes, sha256, offsets, lengths) -> Shard:
  """Returns a shard of a manifest (ValueError: it can be none)."""
  if typed.read(file, str, 'file') != file.rpartition('/')[2]:
    raise ValueError(f'file ({file!r}) must lie beside the manifest')
  typed.read(sha256, str, f'sha256 of {file}')
  places, counts = (np.asarray(numbers) for numbers in (offsets, lengths))
  if not (
    type(n_bytes) is int
    and places.ndim == 1
    and places.shape == counts.shape
    and (not places.size or {places.dtype.kind, counts.dtype.kind} == {'i'})
    and (np.diff(places, prepend=0, append=n_bytes) >= 0).all()
    and ((counts >= 0) & (counts < typed.LARGEST)).all()
  ):
    raise ValueError(f'offsets and lengths of {file} must be whole numbers, and offsets must rise')
  return Shard(file, n_bytes, sha256, offsets, lengths)


def _checked(manifest: Manifest) -> Manifest:
  """Returns the manifest (ValueError: a value has another type, or is impossible)."""
  hints = {'shape': tuple[int, ...], 'action_dim': int | None, 'made_from': dict}
  hints |= {'frames_key': str, 'actions_key': str, 'same_size': bool, 'encoding': str}
  for name, hint in hints.items():
    typed.read(getattr(manifest, name), hint, name)
  if manifest.encoding not in ENCODINGS:
    raise ValueError(f'encoding ({manifest.encoding!r}) must be one of {", ".join(ENCODINGS)}')
  if not manifest.shape or min(manifest.shape) < 1 or math.prod(manifest.shape) > typed.LARGEST:
    raise ValueError(f'shape ({manifest.shape}) must be sizes of a frame, or of codes')
  if manifest.action_dim is not None and not 0 < manifest.action_dim < 2**16:
    raise ValueError(f'action_dim ({manifest.action_dim}) must be the size of an action')
  for name in ('class_names', 'action_names', 'skipped'):
    texts = getattr(manifest, name) or []
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
      raise ValueError(f'{name} must be a list of texts')
  return manifest


@dataclasses.dataclass(frozen=True)
class Records:
  """The readable records of a split.

  Attributes:
    lengths: int [n], number of frames (or crops) in each.
    read: number int64 [] in [0, n) -> the serialised record, string [], inside a tf.data graph.
    skipped: one line for each record that is missing or too short.
  """

  lengths: np.ndarray
  read: Callable[[tf.Tensor], tf.Tensor]
  skipped: tuple[str, ...]


def open_records(
  manifest: Manifest, directory: str, split: str, test_fraction: float, min_length: int = 1
) -> Records:
  """Returns the records of a split with at least `min_length` frames that are still there.

  Holds out `test_fraction` of the training records where there are no test shards.

  Raises:
    UserError: there are no training shards, or no usable record.
  """
  split = resolve(split, manifest.splits)
  period = None if manifest.splits.keys() & {'val', 'test'} else max(2, round(1 / test_fraction))
  shards = manifest.splits.get('train' if period else split)
  if not shards:
    raise UserError(f'{directory} has no {split} shards, only {", ".join(manifest.splits)}')
  paths = [tf.io.gfile.join(directory, shard.file) for shard in shards]
  table, skipped = [], []
  for nth, (shard, size) in enumerate(zip(shards, _sizes(paths), strict=True)):
    ends = [*shard.offsets[1:], shard.n_bytes]
    for i, (begin, end, length) in enumerate(zip(shard.offsets, ends, shard.lengths, strict=True)):
      if period and (i % period == 0) != (split != 'train'):
        continue
      if end > size:
        skipped.append(f'{shard.file} record {i}: the file is missing or cut short')
      elif length < min_length:
        skipped.append(f'{shard.file} record {i}: {length} frames, a clip needs {min_length}')
      else:
        table.append((nth, begin, length))
  tell_skipped(directory, skipped, len(table))
  which, begins, lengths = np.array(table, np.int64).T
  return Records(lengths, reader(paths, which, begins), tuple(skipped))


def reader(files: Sequence[str], which: np.ndarray, begins: np.ndarray):
  """Returns a `Records.read` of the records that start at byte `begins` [n] of `which` [n] file."""
  files, which, begins = tf.constant(files), tf.constant(which), tf.constant(begins)

  def read(number):
    # The op below tf.data.TFRecordDataset, which has no argument for the byte offsets.
    records = tf.raw_ops.TFRecordDatasetV2(
      filenames=[files[which[number]]],
      compression_type='',
      buffer_size=256 << 10,
      byte_offsets=[begins[number]],
    )
    records = tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
    return records.take(1).get_single_element()

  return read


def _sizes(paths):
  def size(path):
    try:
      return tf.io.gfile.stat(path).length
    except tf.errors.NotFoundError:
      return 0

  with concurrent.futures.ThreadPoolExecutor(32) as pool:  # buckets have a high latency
    return list(pool.map(size, paths))
