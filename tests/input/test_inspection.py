"""What a run would see of its data."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np

from tests.input.writing import write_video
from videogpt_jax.input import DatasetConfig, advice, inspection, pictures


def test_an_inspection_tells_sizes_lengths_and_what_is_skipped(tmp_path):
  for i, name in enumerate(('train/run/a', 'train/sit/b', 'test/sit/c', 'train/run/short')):
    write_video(tmp_path / f'{name}.mkv', n_frames=9 - 2 * i)
  config = DatasetConfig('folder', str(tmp_path), resolution=16, sequence_length=4)
  found = inspection.inspect(config, batch_size=3, seconds=0.1)
  assert (found.info.n_train, found.info.n_test) == (2, 1)
  assert found.info.class_names == ('run', 'sit')
  assert {split: lengths.tolist() for split, lengths in found.lengths.items()} == {
    'train': [9, 7],
    'test': [5],
  }
  assert [str(line) for line in found.skipped] == [
    'train/run/short.mkv: too short (3 frames; a clip needs 4 frames)'
  ]
  assert found.shapes == {'video': (3, 4, 16, 16, 3), 'label': (3,)}
  assert found.video.shape == (3, 4, 16, 16, 3) and found.clips_per_second > 0


def test_a_user_is_warned_once_of_what_is_left_out(tmp_path):
  for name in 'abc':
    write_video(tmp_path / f'videos/{name}.mkv')
  (tmp_path / 'videos/text.mp4').write_text('no video')
  command = [sys.executable, '-m', 'videogpt_jax.inspect_data', '--config=configs/folder.py']
  flags = ['sequence_length=4', f'path={tmp_path / "videos"}', 'resolution=16']
  done = subprocess.run(
    [*command, f'--sheet={tmp_path / "a.png"}', '--seconds=0']
    + [f'--config.dataset.{flag}' for flag in flags],
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  (warning,) = [line for line in done.stderr.splitlines() if 'WARNING' in line]
  assert 'skipped 1 of 4' in warning and warning.count('text.mp4:') == 1


def test_no_picture_is_written_unless_it_is_asked_for(tmp_path):
  root = pathlib.Path(__file__).parents[2]
  command = [sys.executable, '-m', 'videogpt_jax.inspect_data', '--seconds=0']
  done = subprocess.run(
    [*command, f'--config={root / "configs/demo.py"}', '--config.dataset.source=random'],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(root)},
    capture_output=True,
    text=True,
    timeout=120,
    check=True,
  )
  assert 'batch       video uint8 [8, ' in done.stdout and 'wrote' not in done.stdout
  assert not list(tmp_path.iterdir())


def test_the_sheet_shows_first_and_last_frames():
  video = np.linspace(0, 255, 12).round().astype(np.uint8)[None, :, None, None, None]
  sheet = pictures.sheet(np.broadcast_to(video, (2, 12, 6, 6, 3)), 8)
  height, width = sheet.shape[0] // 2, sheet.shape[1] // 8
  middles = sheet[height // 2 :: height, width // 2 :: width]
  assert middles[:, 0].max() == 0 and middles[:, 7].min() == 255
  assert (np.diff(middles[0, :, 0].astype(int)) > 0).all()


def test_recordings_in_both_splits_are_found(tmp_path):
  rng = np.random.default_rng(0)
  scenes = {name: rng.integers(0, 256, (9, 6, 8, 3), np.uint8) for name in 'abcd'}
  for name, scene in scenes.items():
    split = 'test' if name == 'd' else 'train'
    (tmp_path / split).mkdir(exist_ok=True)
    np.save(tmp_path / f'{split}/{name}.npy', scene.repeat(4, 1).repeat(4, 2))
  noisy = scenes['b'].repeat(4, 1).repeat(4, 2) // 2 * 2  # as another encoding would be
  np.save(tmp_path / 'test/copy.npy', noisy)
  np.save(tmp_path / 'test/black.npy', np.zeros_like(noisy))
  np.save(tmp_path / 'train/dark.npy', np.zeros_like(noisy))
  config = DatasetConfig('folder', str(tmp_path), resolution=8, sequence_length=4)
  found = inspection.inspect(config, batch_size=2, seconds=0.0)
  assert found.alike == [('train/b.npy', 'test/copy.npy')]
  said = found.to_json()
  assert said['splits'] == {
    'train': {'recordings': 4, 'frames': 36},
    'test': {'recordings': 3, 'frames': 27},
  }
  assert said['sizes'] == {'24x32': 7} and said['found'] == {'recordings': 7, 'frames': 63}
  (advised,) = [line for line in advice.advice(found, config, 4) if 'in training too' in line]
  assert advised.startswith('1 held-out recording is in training')
  assert 'test/copy.npy (train/b.npy): leave it out' in advised
  for sizes, remedy in (
    ({(36, 64): 7}, 'resolution="(8, 16)"'),
    ({(36, 64): 4, (64, 36): 3}, 'fit=pad shows all of it, upright and lying'),
  ):
    wide = dataclasses.replace(found, sizes=sizes)
    (advised,) = [line for line in advice.advice(wide, config, 4) if 'cropping' in line]
    assert 'keeps 56% of a frame' in advised and remedy in advised


def test_actions_are_drawn_under_their_frames():
  video = np.zeros((1, 2, 10, 12, 3), np.uint8)
  actions = np.array([[[1.0, 0, -2], [0, 0, 1]]], np.float32)
  drawn = pictures.with_actions(video, actions)
  lit = (drawn[..., 1] > 150)[0, :, 10:]  # [T rows columns]
  assert drawn.shape == (1, 2, 26, 12, 3) and not drawn[:, :, :10].any()
  assert lit[0, :8, 1].all() and not lit[0, 8:, 1].any()  # up, in full
  assert lit[0, 8:, 9].all() and not lit[0, :8, 9].any()  # down, in full
  assert lit[1, 4:8, 9].all() and lit[1].sum(0)[:8].max() == 0  # half of the largest
  assert pictures.with_actions(video, None) is video


def test_the_part_that_is_kept_is_framed():
  config = DatasetConfig('random', resolution=8)
  drawn = pictures.chosen_part(np.zeros((16, 32, 3), np.uint8), config)
  columns = drawn[8].any(-1).nonzero()[0]
  assert columns.tolist() == [8, 23]
  whole = pictures.chosen_part(np.zeros((16, 32, 3), np.uint8), DatasetConfig('random', fit='pad'))
  assert whole[8].any(-1).nonzero()[0].tolist() == [0, 31]


def test_a_histogram_shows_what_is_frequent():
  from videogpt_jax import inspect_data

  lines = list(inspect_data.histogram('fps', {'8': 6, '25': 12}))
  assert [line.count('#') for line in lines] == [12, 24]
  many = list(inspect_data.histogram('sizes', {str(i): 1 + i for i in range(9)}))
  assert len(many) == 7 and many[-1].endswith('and 3 other values')
  lengths = np.arange(100)
  assert (
    sum(inspect_data._binned(lengths).values()) == 100 and len(inspect_data._binned(lengths)) == 6
  )


def test_memory_grows_with_the_batch_and_the_largest_batch_fits():
  from tests import tiny_config
  from videogpt_jax import memory
  from videogpt_jax.config import from_dict

  experiment = from_dict(tiny_config.get_config())
  one, two, eight = (memory.vqvae_bytes(experiment, n) for n in (1, 2, 8))
  assert eight - two == 6 * (two - one) > 0
  assert memory.largest_batch(experiment, eight) == 8
  assert memory.largest_batch(experiment, one // 2) == 0
