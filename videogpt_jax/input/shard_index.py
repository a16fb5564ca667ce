"""Indexes TFRecord shards by reading them once."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from videogpt_jax.errors import UserError
from videogpt_jax.input.shards import Manifest, Shard

_BLOCK = 1 << 20


def index_directory(directory: str, **fields) -> Manifest:
  """Returns the manifest of the shards train-*.tfrecord* and test-*.tfrecord*.

  Args:
    directory: local, or in a bucket.
    **fields: fields of the manifest that the shards do not state, such as class_names (by default
      numbers) and frames_key.
  Raises:
    UserError: there are no readable shards, or shards of different kinds.
  """
  files = {
    split: sorted(tf.io.gfile.glob(tf.io.gfile.join(directory, f'{split}-*.tfrecord*')))
    for split in ('train', 'val', 'test')
  }
  files = {split: found for split, found in files.items() if found or split != 'val'}
  return index_files(directory, files, **fields)


def index_files(directory: str, files: Mapping[str, Sequence[str]], **fields) -> Manifest:
  """Like `index_directory`, for the given files of each split."""
  keys = {k: fields[k] for k in ('frames_key', 'actions_key', 'action_dim') if k in fields}
  splits, kinds, skipped, n_classes = {}, set(), [], {}
  for split in files:
    found = [index_shard(file, **keys) for file in files[split]]
    splits |= {split: tuple(shard for shard, *_ in found)} if found else {}
    kinds |= {kind for _, kind, *_ in found if kind}
    skipped += [problem for *_, problem in found if problem]
    n_classes[split] = max([0, *(n for _, _, n, _ in found)])
  if len(kinds) != 1:
    what = f'shards of different kinds: {sorted(kinds)}' if kinds else 'no readable records'
    raise UserError(
      f'{directory} holds {what}; it needs train-*.tfrecord and test-*.tfrecord of one kind'
      + ''.join(f'; {problem}' for problem in skipped)
    )
  if 'class_names' not in fields and splits.keys() == {'train', 'test'}:
    _check_classes(directory, **n_classes)
  ((encoding, shape, action_dim),) = kinds
  known = {
    'class_names': tuple(map(str, range(max(n_classes.values())))) or None,
    'action_dim': action_dim,
    'skipped': tuple(skipped),
  }
  return Manifest(encoding, shape, splits, **known | fields)


def _check_classes(directory, train, test):
  if bool(train) != bool(test) or test > train:
    of = {
      split: f'labels up to {n - 1}' if n else 'no labels'
      for split, n in (('train', train), ('test', test))
    }
    raise UserError(
      f'{directory}: the training shards have {of["train"]}, the test shards {of["test"]}; '
      'a test class needs training videos'
    )


def index_shard(
  path: str,
  frames_key: str = 'frames',
  actions_key: str = 'actions',
  action_dim: int | None = None,
) -> tuple[Shard, tuple | None, int, str]:
  """Indexes one shard.

  Returns:
    The shard; (encoding, shape, action_dim) of its records, or None if it has none; the number of
    classes that its labels need; what is wrong with it, or ''.
  Raises:
    UserError: a record is no clip, or its frames have different numbers of actions.
  """
  offsets, lengths, kind, n_classes, problem, end = [], [], None, 0, '', 0
  try:
    for number, record in enumerate(tf.data.TFRecordDataset(path).as_numpy_iterator()):
      clip = tf.train.Example.FromString(record).features.feature
      images = clip['codes' if 'codes' in clip else frames_key].bytes_list.value
      if not images:
        raise UserError(
          f'{path}: record {number} has neither {frames_key} nor codes; see docs/data.md'
        )
      n_actions = len(clip[actions_key].float_list.value)
      kind = kind or _kind(clip, images, action_dim or n_actions / len(images), path)
      offsets.append(end)
      lengths.append(len(images))
      n_classes = max([n_classes, *(label + 1 for label in clip['label'].int64_list.value)])
      end += len(record) + 16  # length, its checksum and the record's
  except tf.errors.DataLossError:
    problem = f'{path}: cut short or corrupted after {len(offsets)} records'
  shard = Shard(path.rsplit('/', 1)[-1], end, _sha256(path), offsets, lengths)
  return shard, kind, n_classes, problem


def _kind(clip, images, action_dim, path):
  shape = tuple(clip['shape'].int64_list.value)
  if action_dim != int(action_dim):
    raise UserError(
      f'{path}: {action_dim * len(images):.0f} numbers are no actions of {len(images)} frames; '
      'store the same number for each frame'
    )
  action_dim = int(action_dim) or None
  if 'codes' in clip:
    return 'codes', shape, action_dim
  if images[0].startswith((b'\x89PNG', b'\xff\xd8\xff')):
    encoding = 'png' if images[0].startswith(b'\x89') else 'jpeg'
    return encoding, tuple(tf.io.decode_image(images[0]).shape), action_dim
  if not shape or np.prod(shape) != len(images[0]):
    raise UserError(
      f'{path}: a frame of {len(images[0])} bytes is neither PNG nor JPEG, nor raw of shape {shape}'
    )
  return 'raw', shape, action_dim


def _sha256(path):
  digest = hashlib.sha256()
  with tf.io.gfile.GFile(path, 'rb') as file:
    while block := file.read(_BLOCK):
      digest.update(block)
  return digest.hexdigest()
