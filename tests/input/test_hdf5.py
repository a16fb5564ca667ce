"""HDF5 files: recordings, and files that are refused."""

import h5py
import numpy as np
import pytest

from tests.input.reading import brightness, config_of, first
from videogpt_jax.errors import UserError
from videogpt_jax.input import contents, pipeline


def _write_hdf5(path, **arrays):
  with h5py.File(path, 'w') as file:
    for key, array in arrays.items():
      file[key] = array
  return path


def _frames(n):
  return np.broadcast_to(10 * np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 5, 6, 3))


def test_hdf5_clips_stay_within_their_recording(tmp_path):
  path = _write_hdf5(
    tmp_path / 'a.h5',
    train_data=_frames(20),
    train_idx=np.array([0, 6, 9]),  # 6, 3 (too short) and 11 frames
    test_data=_frames(9),
    test_idx=np.array([0, 4]),
  )
  config = config_of('hdf5', path)
  assert contents.describe(config) == contents.DatasetInfo(2, 2)
  assert brightness(first(config)['video']).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
  batches = pipeline.train_batches(config, batch_size=8, seed=0)
  seen = {tuple(clip) for _ in range(9) for clip in brightness(next(batches)['video']).tolist()}
  assert seen == {tuple(range(i, i + 4)) for i in (0, 1, 2, *range(9, 17))}


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    ({'train_data': _frames(9)}, 'lacks train_idx, it has train_data'),
    ({'train_data': _frames(9) / 2.0, 'train_idx': np.array([0])}, 'float64.*uint8'),
    ({'train_data': _frames(9), 'train_idx': np.array([0, 12])}, 'at most the 9 frames'),
    ({'train_data': _frames(9), 'train_idx': np.array([0, 3, 6])}, 'no usable clip'),
  ],
)
def test_hdf5_of_another_layout_is_refused(tmp_path, arrays, message):
  with pytest.raises(ValueError, match=message):
    first(config_of('hdf5', _write_hdf5(tmp_path / 'a.h5', **arrays)), 'train')


def test_hdf5_that_is_missing_or_cut_short_is_refused(tmp_path):
  with pytest.raises(ValueError, match='is no file'):
    first(config_of('hdf5', tmp_path / 'none.h5'))
  (tmp_path / 'a.h5').write_text('no HDF5')
  with pytest.raises(ValueError, match='is not HDF5'):
    first(config_of('hdf5', tmp_path / 'a.h5'))


def _linked(file, key, other):
  file[key] = h5py.ExternalLink(other, key)


def _raw(file, key, other):
  with h5py.File(other) as held:
    shape, dtype, offset = held[key].shape, held[key].dtype, held[key].id.get_offset()
  size = int(np.prod(shape)) * dtype.itemsize
  file.create_dataset(key, shape, dtype, external=[(other, offset, size)])


def _virtual(file, key, other):
  with h5py.File(other) as held:
    layout = h5py.VirtualLayout(held[key].shape, held[key].dtype)
    layout[...] = h5py.VirtualSource(held[key])
  file.create_virtual_dataset(key, layout)


def _by_soft_link(file, key, other):
  file['away'] = h5py.ExternalLink(other, '/')
  file[key] = h5py.SoftLink(f'/away/{key}')


@pytest.mark.parametrize('outside', [_linked, _raw, _virtual, _by_soft_link])
@pytest.mark.parametrize('key', ['train_data', 'train_idx', 'video'])
def test_arrays_in_other_files_are_not_read(outside, key, tmp_path):
  """Which would be any file of the machine."""
  whole = {'train_data': _frames(9), 'train_idx': np.array([0]), 'video': _frames(9)}
  other = str(_write_hdf5(tmp_path / 'other.hidden', **whole))
  whole = {'video': _frames(9)} if key == 'video' else whole
  path = _write_hdf5(tmp_path / 'a.h5', **{name: x for name, x in whole.items() if name != key})
  with h5py.File(path, 'a') as file:
    outside(file, key, other)
    assert file[key].shape == whole[key].shape  # HDF5 itself would read it
  with pytest.raises(UserError, match=r'lies in another file|holds no video'):
    first(config_of('hdf5', path), 'train')


@pytest.mark.parametrize('key', ['train_data', 'video', 'actions'])
def test_arrays_that_claim_more_than_the_file_holds_are_refused(key, tmp_path):
  whole = {'video': _frames(9)} if key == 'actions' else {'train_idx': np.array([0])}
  path = _write_hdf5(tmp_path / 'a.h5', **whole)
  with h5py.File(path, 'a') as file:
    file.create_dataset(key, (9, 10_000, 10_000, 3), np.uint8, chunks=(1, 100, 100, 3))
  with pytest.raises(UserError, match=rf'a.h5:{key} claims more than the file holds'):
    first(config_of('hdf5', path), 'train')
