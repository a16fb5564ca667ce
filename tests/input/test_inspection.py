"""What a run would see of its data."""

import subprocess
import sys

import numpy as np

from tests.input.writing import write_video
from videogpt_jax.input import DatasetConfig, inspection


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
  assert found.skipped == ('train/run/short.mkv: too short (3 frames; a clip needs 4 frames)',)
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


def test_the_sheet_shows_first_and_last_frames(tmp_path):
  from PIL import Image

  from videogpt_jax import inspect_data

  video = np.linspace(-0.5, 0.5, 12, dtype=np.float32)[None, :, None, None, None]
  inspect_data._write_sheet(tmp_path / 'a.png', np.broadcast_to(video, (2, 12, 6, 6, 3)))
  sheet = np.asarray(Image.open(tmp_path / 'a.png'))
  height, width = sheet.shape[0] // 2, sheet.shape[1] // 8
  middles = sheet[height // 2 :: height, width // 2 :: width]
  assert middles[:, 0].max() == 0 and middles[:, 7].min() == 255
  assert (np.diff(middles[0, :, 0].astype(int)) > 0).all()
