"""What lies beside a recording, or holds several, and is broken: it costs that recording alone."""

import itertools
import json

import h5py
import numpy as np
import pytest

from tests.input.finding import found
from tests.input.reading import config_of
from tests.input.writing import grey_frames, write_images, write_tar, write_video
from videogpt_jax.errors import UserError
from videogpt_jax.input import contents
from videogpt_jax.input.layouts import beside
from videogpt_jax.input.recording import BrokenRecordingError

N = 8  # frames of a recording
TABLE = 'frame,action_x\n' + ''.join(f'{i},{i}.5\n' for i in range(N))
LINES = '\n'.join(json.dumps({'action': [i, 0.5]}) for i in range(N))
WHOLE = json.dumps({'actions': [[i, 0.5] for i in range(N)]})


def _bytes(path, save, **arrays):
  save(path, *arrays.values()) if save is np.save else save(path, **arrays)
  content = path.read_bytes()
  path.unlink()
  return content


@pytest.fixture
def good(tmp_path):
  """What a file of each kind holds, by suffix."""
  actions = np.linspace(0, 1, 2 * N).reshape(N, 2)
  return {
    '.npy': _bytes(tmp_path / 'x.npy', np.save, actions=actions),
    '.npz': _bytes(tmp_path / 'x.npz', np.savez_compressed, actions=actions),
    '.csv': TABLE.encode(),
    '.jsonl': LINES.encode(),
    '.json': WHOLE.encode(),
  }


_KINDS = ('.npy', '.npz', '.csv', '.jsonl', '.json')
_ARRAYS = [('arrays', suffix) for suffix in _KINDS[2:]]  # the others are recordings themselves


@pytest.mark.parametrize(
  ('layout', 'suffix'), [*itertools.product(('videos', 'frames', 'tar'), _KINDS), *_ARRAYS]
)
def test_a_broken_file_beside_a_recording_costs_that_recording(tmp_path, good, layout, suffix):
  content, broken = good[suffix], good[suffix][: len(good[suffix]) * 2 // 3]
  broken = broken.replace(b',', b'\0', 1) if suffix == '.csv' else broken
  folder = tmp_path / 'data'
  folder.mkdir()
  if layout == 'tar':
    video = write_video(tmp_path / 'v.mkv').read_bytes()
    files = {f'{name}.mkv': video for name in 'abc'}
    write_tar(
      folder / 'a.tar', files | {f'{n}{suffix}': content for n in 'ab'} | {f'c{suffix}': broken}
    )
  else:
    for name in 'abc':
      if layout == 'videos':
        write_video(folder / f'{name}.mkv')
      elif layout == 'arrays':
        np.save(folder / f'{name}.npy', grey_frames(N))
      else:
        write_images(folder / name, range(N))
      (folder / f'{name}{suffix}').write_bytes(broken if name == 'c' else content)
  found_there = found(folder)
  assert len(found_there.entries) == 2 and found_there.action_dim in (1, 2)
  (line,) = found_there.skipped
  assert 'c' in line.name and f'c{suffix} ' in line.reason and '\n' not in line.reason
  info = contents.describe(config_of('folder', folder))
  assert info.n_train + info.n_test == 2
  with pytest.raises(UserError, match='1 recording cannot be used: '):
    contents.describe(config_of('folder', folder, broken='stop'))


def test_bytes_that_are_wrong_are_one_line_whatever_the_library_makes_of_them(good):
  rng = np.random.default_rng(0)
  n_broken = 0
  for suffix, content in good.items():
    for _ in range(300):
      wrong = bytearray(content)
      for place in rng.integers(0, len(wrong), 3):
        wrong[place] = rng.integers(0, 256)
      try:
        beside.read(suffix, bytes(wrong), '', f'x{suffix}')
      except BrokenRecordingError as error:
        assert '\n' not in str(error) and str(error).startswith(f'x{suffix} ')
        n_broken += 1
  assert n_broken > 300


def test_a_column_that_no_file_has_is_a_setting_and_one_that_some_lack_is_theirs(tmp_path):
  for name, column in (('a', 'dx'), ('b', 'dx'), ('c', 'other')):
    write_video(tmp_path / f'{name}.mkv')
    (tmp_path / f'{name}.csv').write_text(f'{column}\n' + '0.5\n' * N)
    (tmp_path / f'{name}.json').write_text('{"title": "what else is known"}')
  layout = found(tmp_path, action_key='dx')
  assert [str(line) for line in layout.skipped] == ['c.mkv: c.csv has no column dx; it has other']
  with pytest.raises(UserError, match=r'a\.csv has no column dy; it has dx'):
    found(tmp_path, action_key='dy')


def test_one_file_of_episodes_that_is_otherwise_is_left_out(tmp_path):
  for kind in ('hdf5', 'npz'):
    (tmp_path / kind).mkdir()
    for name in 'abc':
      arrays = {'frames': grey_frames(N)} if name != 'b' else {'notes': np.arange(N)}
      if kind == 'npz':
        np.savez(tmp_path / kind / f'{name}.npz', **arrays)
        continue
      with h5py.File(tmp_path / kind / f'{name}.hdf5', 'w') as file:
        for key, array in arrays.items():
          file[key] = array
    assert [line.name for line in found(tmp_path / kind).skipped] == [f'b.{kind}']
