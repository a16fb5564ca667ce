"""A data set to codes and back into batches."""

import dataclasses

import numpy as np
import pytest

from tests.input.writing import write_shard
from videogpt_jax import pixels
from videogpt_jax.errors import UserError
from videogpt_jax.input import DatasetConfig, code_shards, contents, pipeline, shard_index
from videogpt_jax.models.time_grid import TimeGrid

CONFIG = DatasetConfig(
  sequence_length=4, resolution=16, digit_size=12, n_train_clips=9, n_test_clips=5
)


def _encode(video):
  """Codes that tell the clip: mean brightness of quarters."""
  blocks = video.reshape(len(video), 2, 2, 2, 8, 2, 8, 3).mean((2, 4, 6, 7))
  return np.round(1000 * (blocks + 0.5)).astype(np.int32)


def _write(out, config=CONFIG, encode=_encode, **changes):
  arguments = {'n_crops': 3, 'n_cond_frames': 1, 'batch_size': 4, 'seed': 5, 'made_from': {'a': 1}}
  arguments |= changes
  return code_shards.write_codes(config, encode, str(out), progress=lambda *_: None, **arguments)


def test_codes_are_those_of_the_clips_with_labels_and_first_frames(tmp_path):
  _write(tmp_path / 'codes')
  codes = DatasetConfig('codes', str(tmp_path / 'codes'))
  assert contents.describe(codes) == contents.describe(CONFIG)
  of_video = next(pipeline.test_batches(CONFIG, batch_size=5))
  of_codes = next(pipeline.test_batches(codes, batch_size=5))
  np.testing.assert_array_equal(of_codes['codes'], _encode(of_video['video']))
  np.testing.assert_array_equal(of_codes['label'], of_video['label'])
  frames = pixels.to_model_range(of_codes['video'])
  np.testing.assert_allclose(frames, of_video['video'][:, :1], atol=0.5 / 255 + 1e-6)


def test_what_a_prior_cannot_train_on_is_refused(tmp_path):
  _write(tmp_path / 'codes')
  contents.check_codes(str(tmp_path / 'codes'), n_cond_frames=1)
  with pytest.raises(ValueError, match=r'holds 1 first frames.*asks for 2'):
    contents.check_codes(str(tmp_path / 'codes'), n_cond_frames=2)
  for split in ('train', 'test'):
    write_shard(tmp_path / f'video/{split}-0.tfrecord')
  shard_index.index_directory(str(tmp_path / 'video')).save(str(tmp_path / 'video'))
  with pytest.raises(ValueError, match='holds video, not codes'):
    contents.check_codes(str(tmp_path / 'video'), n_cond_frames=0)


def test_codes_of_another_tokenizer_are_refused(tmp_path):
  for made_from in ({'tokenizer_sha256': 'aa'}, {'codebook_sha256': 'bb'}, {'a': 1}):
    _write(tmp_path / next(iter(made_from)), made_from=made_from)
  same = {'tokenizer_sha256': 'aa', 'codebook_sha256': 'bb'}
  contents.check_tokenizer(str(tmp_path / 'tokenizer_sha256'), **same | {'codebook_sha256': 'x'})
  contents.check_tokenizer(str(tmp_path / 'codebook_sha256'), **same | {'tokenizer_sha256': 'x'})
  for key in same:
    with pytest.raises(UserError, match=f'another VQ-VAE .{key}'):
      contents.check_tokenizer(str(tmp_path / key), **same | {key: 'x'})
  with pytest.raises(UserError, match=r'another VQ-VAE .codebook_sha256 unknown'):
    contents.check_tokenizer(str(tmp_path / 'a'), **same)


def test_several_crops_keep_the_augmentation_and_their_actions(tmp_path):
  for split in ('train', 'test'):
    write_shard(tmp_path / f'video/{split}-0.tfrecord', lengths=(9, 9))
  shard_index.index_directory(str(tmp_path / 'video')).save(str(tmp_path / 'video'))
  config = DatasetConfig('tfrecord', str(tmp_path / 'video'), sequence_length=2, resolution=4)
  manifest = _write(
    tmp_path / 'codes',
    config,
    lambda video: np.round(255 * (video[:, :, :1, :1, 0] + 0.5)).astype(np.int32),
    n_crops=8,
  )
  assert [shard.lengths for shard in manifest.splits['train']] == [[8, 8]]
  codes = DatasetConfig('codes', str(tmp_path / 'codes'))
  batch = next(pipeline.train_batches(codes, batch_size=40, seed=0))
  brightness = batch['codes'][:, :, 0, 0]
  assert len(np.unique(brightness[:, 0])) > 6
  expected = 100 * (brightness // 10)[..., None] + 2 * (brightness % 10)[..., None] + [0, 1]
  np.testing.assert_array_equal(batch['actions'], expected)


def test_with_history_a_crop_begins_at_any_latent_frame_of_a_longer_clip(tmp_path):
  for split in ('train', 'test'):
    write_shard(tmp_path / f'video/{split}-0.tfrecord', lengths=(5, 5))
  shard_index.index_directory(str(tmp_path / 'video')).save(str(tmp_path / 'video'))
  config = DatasetConfig('tfrecord', str(tmp_path / 'video'), sequence_length=2, resolution=4)
  _write(
    tmp_path / 'codes',
    config,
    lambda video: np.round(255 * (video[:, :, :1, :1, 0] + 0.5)).astype(np.int32),
    n_crops=16,
    time_grid=TimeGrid(1),
    history=3,
  )
  codes = DatasetConfig('codes', str(tmp_path / 'codes'))
  batch = next(pipeline.train_batches(codes, batch_size=100, seed=0))
  brightness = batch['codes'][:, :, 0, 0]
  assert brightness.shape[1] == 2 and set(np.unique(brightness[:, 0] % 10)) == {0, 1, 2, 3}
  expected = 100 * (brightness // 10)[..., None] + 2 * (brightness % 10)[..., None] + [0, 1]
  np.testing.assert_array_equal(batch['actions'], expected)
  frames = pixels.to_uint8(pixels.to_model_range(batch['video']))[:, 0, 0, 0, 0]
  np.testing.assert_array_equal(frames, brightness[:, 0])
  held_out = next(pipeline.test_batches(codes, batch_size=2))['codes'][:, :, 0, 0]
  np.testing.assert_array_equal(held_out % 10, [[0, 1], [0, 1]])


def test_encoding_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
  monkeypatch.setattr(code_shards, '_CLIPS_PER_SHARD', 4)
  whole = _write(tmp_path / 'whole')
  encoded = []

  def breaking(video):
    encoded.append(len(video))
    if len(encoded) == 5:
      raise KeyboardInterrupt
    return _encode(video)

  with pytest.raises(KeyboardInterrupt):
    _write(tmp_path / 'parts', encode=breaking)
  again = _write(tmp_path / 'parts', encode=breaking)
  assert [len(shards) for shards in again.splits.values()] == [3, 2]
  assert again.splits == whole.splits
  n_batches = 3 + 3 + 1 + 1 + 1
  assert len(encoded) == 5 + n_batches - 3  # the first shard was kept
  n = len(encoded)
  _write(tmp_path / 'parts', encode=breaking)
  assert len(encoded) == n


def test_other_settings_in_the_same_directory_are_refused(tmp_path):
  _write(tmp_path / 'codes')
  with pytest.raises(ValueError, match='begun with other n_crops'):
    _write(tmp_path / 'codes', n_crops=2)
  with pytest.raises(ValueError, match='begun with other dataset'):
    _write(tmp_path / 'codes', dataclasses.replace(CONFIG, data_seed=1))
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine/file').touch()
  with pytest.raises(ValueError, match='holds other files'):
    _write(tmp_path / 'mine')
