"""Which clip is where in which batch."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.input.writing import write_shard
from videogpt_jax.input import DatasetConfig, contents, pipeline, shard_index
from videogpt_jax.input.clips import Clips

CONFIG = DatasetConfig(
  source='digits', sequence_length=3, resolution=24, n_train_clips=10, n_test_clips=7
)


def _take(n, **arguments):
  config = arguments.pop('config', CONFIG)
  batches = pipeline.train_batches(config, **{'batch_size': 4, 'seed': 1} | arguments)
  return [next(batches) for _ in range(n)]


def _assert_same(batches, others):
  assert len(batches) == len(others)
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for key in batch:
      np.testing.assert_array_equal(batch[key], other[key])


def test_batches_have_the_promised_types_and_ranges():
  (batch,) = _take(1)
  assert batch['video'].shape == (4, 3, 24, 24, 3) and batch['video'].dtype == np.float32
  assert batch['video'].min() == -0.5 and 0.4 < batch['video'].max() <= 0.5
  assert batch['label'].shape == (4,) and batch['label'].dtype == np.int32


def test_resuming_gives_the_batches_of_a_run_that_never_stopped():
  _assert_same(_take(9)[5:], _take(4, start_step=5))


@pytest.mark.parametrize('process_count', [2, 4])
def test_hosts_together_hold_the_global_batch(process_count):
  shares = [_take(5, process_index=i, process_count=process_count) for i in range(process_count)]
  joined = [
    {key: np.concatenate([share[step][key] for share in shares]) for key in shares[0][step]}
    for step in range(5)
  ]
  _assert_same(joined, _take(5))


def test_an_epoch_holds_every_clip_once_and_each_epoch_has_its_own_order():
  first, second = (
    [
      video.tobytes()
      for batch in _take(5, start_step=start, batch_size=2)
      for video in batch['video']
    ]
    for start in (0, 5)
  )
  assert len(set(first)) == CONFIG.n_train_clips
  assert set(first) == set(second) and first != second


@pytest.mark.parametrize('n', [1, 2, 3])
def test_few_clips_fill_a_larger_batch(n):
  config = dataclasses.replace(CONFIG, n_train_clips=n)
  (batch,) = _take(1, config=config, batch_size=3 * n)
  counts = np.unique([video.tobytes() for video in batch['video']], return_counts=True)[1]
  assert counts.tolist() == [3] * n


def test_the_seed_changes_the_order():
  assert any(
    (a['video'] != b['video']).any() for a, b in zip(_take(2), _take(2, seed=2), strict=True)
  )


def test_flips_mirror_about_half_of_the_clips():
  plain = _take(5, batch_size=8)
  flipped = _take(5, batch_size=8, config=dataclasses.replace(CONFIG, random_flip=True))
  n_mirrored = 0
  for a, b in zip(plain, flipped, strict=True):
    for clip, other in zip(a['video'], b['video'], strict=True):
      mirrored = (clip[:, :, ::-1] == other).all()
      assert mirrored or (clip == other).all()
      n_mirrored += mirrored
  assert 10 <= n_mirrored <= 30


@pytest.fixture
def shards(tmp_path):
  """Recordings of 3, 5 and 12 frames of 4x6 for training, and the same for testing."""
  for split in ('train', 'test'):
    write_shard(tmp_path / f'{split}-00000.tfrecord', lengths=(3, 5, 12))
  shard_index.index_directory(str(tmp_path)).save(str(tmp_path))
  return DatasetConfig(
    source='tfrecord', path=str(tmp_path), sequence_length=3, resolution=(4, 6), random_flip=False
  )


def _brightness(batches):
  """The brightness of each clip's first frame: 10 * recording + frame."""
  return [int(video[0, 0, 0, 0]) for batch in batches for video in batch['video']]


def test_an_epoch_of_clips_holds_every_stretch_of_every_recording_once(shards):
  config = dataclasses.replace(shards, draw='clips')
  stretches = [0, 10, 11, 12, *range(20, 30)]
  first, second = (
    _brightness(_take(7, config=config, batch_size=2, start_step=start)) for start in (0, 7)
  )
  assert sorted(first) == sorted(second) == stretches and first != second
  recordings = [b // 10 for b in _brightness(_take(30, config=shards, batch_size=3))]
  assert [recordings.count(r) for r in range(3)] == [30, 30, 30]


def test_test_clips_start_at_random_but_always_at_the_same_frames(shards):
  starts = lambda **changes: _brightness(
    pipeline.test_batches(dataclasses.replace(shards, **changes), batch_size=3)
  )
  assert starts() == [0, 10, 20]
  found = {tuple(starts(test_start='random', data_seed=seed)) for seed in range(40)}
  assert {clip for clips in found for clip in clips} == {0, 10, 11, 12, *range(20, 30)}
  assert starts(test_start='random') == starts(test_start='random')


def test_training_clips_are_cropped_at_every_position_and_start_as_before():
  gradient = np.arange(8 * 11, dtype=np.uint8).reshape(1, 8, 11, 1).repeat(3, 0)
  read = lambda index, start: {'video': tf.constant(gradient), 'start': start}
  config = DatasetConfig(source='tfrecord', path='x', sequence_length=3, resolution=8)
  cut = lambda key, **changes: pipeline._cut(
    Clips(1, read), dataclasses.replace(config, **changes), tf.constant(0, tf.int64), key
  )
  crops = [cut([0, place], random_crop=True) for place in range(40)]
  assert {int(clip['video'][0, 0, 0, 0] * 255 + 127.6) for clip in crops} == {0, 1, 2, 3}
  centre = [cut([0, place]) for place in range(40)]
  assert {int(clip['video'][0, 0, 0, 0] * 255 + 127.6) for clip in centre} == {1}
  assert [float(clip['start']) for clip in crops] == [float(clip['start']) for clip in centre]


@pytest.mark.parametrize('split', ['train', 'test'])
def test_first_clips_to_score_against_represent_their_split(split):
  first = []
  for seed in (0, 0, 1):
    batches = pipeline.real_batches(CONFIG, split=split, start=None, batch_size=4, seed=seed)
    clips = [x for batch in batches for x in batch['video'][batch['mask'] > 0]]
    assert len(np.unique(clips, axis=0)) == (10 if split == 'train' else 7)
    first.append({x.tobytes() for x in clips[:4]})
  assert first[0] == first[1] != first[2]


@pytest.mark.parametrize('process_count', [1, 2])
def test_evaluation_sees_every_test_clip_once(process_count):
  hosts = [
    list(pipeline.test_batches(CONFIG, batch_size=4, process_index=i, process_count=process_count))
    for i in range(process_count)
  ]
  assert {len(batches) for batches in hosts} == {2}
  seen = [
    video.tobytes()
    for batches in hosts
    for batch in batches
    for video, mask in zip(batch['video'], batch['mask'], strict=True)
    if mask
  ]
  assert len(seen) == len(set(seen)) == CONFIG.n_test_clips


@pytest.mark.parametrize('n', [3, 7, 12])
def test_the_first_test_clips_are_never_repeated(n):
  batch = pipeline.first_test_clips(CONFIG, n)
  assert len(batch['video']) == len(batch['label']) == min(n, CONFIG.n_test_clips)
  assert len({video.tobytes() for video in batch['video']}) == len(batch['video'])
  (every,) = pipeline.test_batches(CONFIG, batch_size=7)
  np.testing.assert_array_equal(batch['video'], every['video'][:n])
  assert 'mask' not in batch


def test_describe_counts():
  info = contents.describe(CONFIG)
  assert (info.n_train, info.n_test, info.action_dim) == (10, 7, None)
  assert info.class_names == tuple('0123456789')


def test_a_batch_that_hosts_cannot_share_is_refused():
  with pytest.raises(ValueError, match=r'batch_size \(6\).*4 hosts'):
    pipeline.train_batches(CONFIG, batch_size=6, seed=0, process_count=4)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'source': 'foldr'}, "'foldr'.*folder"),
    ({'source': 'folder'}, 'needs dataset.path'),
    ({'source': 'tfds'}, 'needs dataset.name'),
    ({'source': 'folder', 'path': 'gs://b/videos'}, 'gs://b/videos.*local disk'),
    ({'source': 'hdf5', 'path': 'gs://b/a.h5'}, 'gs://b/a.h5.*local disk'),
    ({'sequence_length': 0}, r'sequence_length \(0\)'),
    ({'fps': 5.0}, 'needs time stamps'),
    ({'source': 'folder', 'path': 'x', 'fps': 5.0, 'frame_skip': 2}, 'one of the two'),
    ({'resolution': 0}, r'resolution \(0\) must be in'),
    ({'resolution': (36, 0)}, r'resolution \(\(36, 0\)\) must be in'),
    ({'resolution': (36,)}, r'\(height, width\)'),
    ({'resolution': True}, r'\(height, width\)'),
    ({'digit_size': 20, 'resolution': (40, 20)}, r'digit_size \(20\).*\(40, 20\)'),
    ({'digit_size': 40}, r'digit_size \(40\).*resolution \(32\)'),
    ({'n_digits': 3}, 'must be 1 or 2'),
    ({'test_fraction': 1.0}, 'test_fraction'),
    ({'test_start': 'last'}, "test_start.*'last'.*first, random"),
    ({'draw': 'frames'}, "draw.*'frames'.*recordings, clips"),
    ({'draw': 'clips'}, "'clips' needs recordings, which source 'digits' lacks"),
    ({'source': 'hdf5', 'path': 'x', 'draw': 'clips', 'random_start': False}, 'random_start'),
    ({'random_crop': True}, "source 'digits' lacks; prepare shards"),
    (
      {'source': 'tfrecord', 'path': 'x', 'random_crop': True, 'fit': 'pad'},
      "random_crop needs dataset.fit 'crop'",
    ),
  ],
)
def test_impossible_configurations_are_refused(wrong, message):
  with pytest.raises(ValueError, match=message):
    DatasetConfig(**wrong)


@pytest.mark.parametrize(
  'settings',
  [
    {'source': 'folder', 'fps': 5.0},
    {'source': 'folder', 'group': '.+/'},
    {'source': 'tfrecord', 'draw': 'clips', 'random_crop': True},
  ],
)
def test_a_prior_trains_on_the_codes_of_any_data_set(settings):
  codes = DatasetConfig(path='clips', sequence_length=8, **settings).as_codes('codes')
  assert (codes.source, codes.path, codes.sequence_length) == ('codes', 'codes', 8)
