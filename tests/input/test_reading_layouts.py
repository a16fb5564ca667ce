"""Batches of every layout: the same whoever reads them, and whenever."""

import concurrent.futures
import dataclasses
import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.input.writing import (
  grey_frames,
  write_demos,
  write_images,
  write_lerobot,
  write_tar,
  write_video,
)
from videogpt_jax import pixels
from videogpt_jax.errors import UserError
from videogpt_jax.input import DatasetConfig, actions, contents, layouts, pipeline

N = 9  # frames of each recording


def _videos(root):
  for i, name in enumerate(('a', 'b', 'c')):
    write_video(root / f'{name}.mkv', n_frames=N)
    np.save(root / f'{name}.npy', np.arange(N) % (2 + i % 2))


def _images(root):
  for i, name in enumerate(('train/x/a', 'train/y/b', 'train/x/c', 'val/y/d')):
    write_images(root / name, range(N), first=i)


def _list(root):
  _images(root / 'videos')
  rows = ['path,label,split'] + [f'{n},{n},train' for n in 'abc'] + ['d,a,test']
  (root / 'list.csv').write_text('\n'.join(rows))


def _arrays(root):
  root.mkdir()
  for i in range(4):
    np.savez(root / f'{i}.npz', video=grey_frames(N, i), actions=np.random.rand(N - 1, 2))


def _hdf5(root):
  root.mkdir()
  write_demos(root / 'a.hdf5', n_frames=N)


def _tars(root):
  root.mkdir()
  video = write_video(root.parent / 'a.mkv', n_frames=N).read_bytes()
  write_tar(root / 'train-0.tar', {f'{n}.mkv': video for n in 'abc'} | {'a.cls': b'x'})
  write_tar(root / 'val-0.tar', {'d.mkv': video})


def _lerobot(root):
  write_lerobot(root, n_episodes=4)


def _lerobot_videos(root):
  write_lerobot(root, n_episodes=4, videos=True)


def _tars_of_frames(root):
  root.mkdir()
  write_images(root.parent / 'a', range(N))
  images = [(root.parent / f'a/{i}.png').read_bytes() for i in range(N)]
  files = {f'{n}/{i:02}.png': image for n in 'abcd' for i, image in enumerate(images)}
  write_tar(root / 'a.tar', files)


def _array_of_all(root):
  root.mkdir()
  np.save(root / 'clips_t_n_h_w.npy', np.random.default_rng(0).integers(0, 255, (N, 5, 6, 8), 'u1'))


def _published(root):
  root.mkdir()
  frames = np.concatenate([grey_frames(N, i) for i in range(5)])
  with h5py.File(root / 'a.h5', 'w') as file:
    file['train_data'], file['train_idx'] = frames, np.arange(0, 5 * N, N)
    file['test_data'], file['test_idx'] = frames[:N], np.array([0])


def _animations(root):
  root.mkdir()
  for i in range(4):
    first, *others = map(Image.fromarray, grey_frames(N, i))
    first.save(root / f'{i}.webp', save_all=True, append_images=others, lossless=True)


def _one(root):
  write_images(root / 'a', range(4 * N), first=0)


LAYOUTS = {
  'videos': _videos,
  'images': _images,
  'list': _list,
  'arrays': _arrays,
  'hdf5': _hdf5,
  'tars': _tars,
  'lerobot': _lerobot,
  'lerobot videos': _lerobot_videos,
  'tars of frames': _tars_of_frames,
  'array of all': _array_of_all,
  'published hdf5': _published,
  'animations': _animations,
  'one recording': _one,
}


def _config(path, **changes):
  return DatasetConfig('folder', str(path), resolution=4, sequence_length=3, **changes)


def _same(batch, other):
  assert batch.keys() == other.keys()
  for key in batch:
    np.testing.assert_array_equal(batch[key], other[key])


@pytest.mark.parametrize('layout', LAYOUTS)
def test_batches_depend_on_the_seed_and_the_step_alone(layout, tmp_path, monkeypatch):
  LAYOUTS[layout](tmp_path / 'data')
  config = _config(tmp_path / 'data')

  def take(n, readers=4, **settings):
    monkeypatch.setattr(tf.data, 'AUTOTUNE', readers)
    batches = pipeline.train_batches(config, batch_size=4, seed=2, **settings)
    return [next(batches) for _ in range(n)]

  whole = take(6)
  for other in (take(6, readers=1), take(3) + take(3, start_step=3)):
    for batch, again in zip(whole, other, strict=True):
      _same(batch, again)
  shares = [take(2, process_index=i, process_count=2) for i in range(2)]
  for step in range(2):
    joined = {key: np.concatenate([s[step][key] for s in shares]) for key in whole[step]}
    _same(whole[step], joined)
  assert len({video.tobytes() for batch in whole for video in batch['video']}) > 4
  held_out = next(pipeline.test_batches(config, batch_size=1))
  assert held_out.keys() == {*whole[0], 'mask'}
  info = contents.describe(config)
  assert (info.action_dim or 0) == whole[0].get('actions', np.zeros(0)).shape[-1]


@pytest.mark.parametrize(
  ('settings', 'step'),
  [({}, 1), ({'frame_skip': 3}, 3), ({'action_order': 'leads_to'}, 1), ({'fps': 2.5}, 2)],
)
@pytest.mark.parametrize('videos', [False, True])
def test_actions_belong_to_the_frames_that_are_shown(settings, step, videos, tmp_path):
  write_lerobot(tmp_path / 'data', n_episodes=3, videos=videos)
  config = _config(tmp_path / 'data', **settings)
  batch = next(pipeline.train_batches(config, batch_size=8, seed=0))
  level = pixels.to_uint8(batch['video']).mean((2, 3, 4)) / 10  # episode + frame
  frames = (level - batch['actions'][:, :1, 0] / step).round().astype(int)
  assert (np.diff(frames) == step).all()
  first = frames + ('action_order' in settings)
  wanted = sum(np.where(first + i < N, first + i, 0) for i in range(step))
  np.testing.assert_array_equal(batch['actions'][..., 1], wanted)


def test_choices_are_not_added_up(tmp_path):
  _videos(tmp_path / 'data')
  with pytest.raises(UserError, match=r'[abc]\.mkv: its actions are choices.*frame_skip=1'):
    next(pipeline.train_batches(_config(tmp_path / 'data', frame_skip=2), batch_size=1, seed=0))


def test_mirrored_clips_have_mirrored_actions_or_stay_as_they_are(tmp_path):
  root = tmp_path / 'data'
  root.mkdir()
  for i in range(2):
    video = grey_frames(N)
    video[:, :, 4:] = 255  # bright on the right
    np.savez(root / f'{i}.npz', video=video, actions=np.tile([[1.0, 2.0, 3.0]], (N, 1)))
  config = _config(root, random_flip=True)
  take = lambda config: next(pipeline.train_batches(config, batch_size=16, seed=0))
  plain = take(config)
  assert (plain['video'][..., 3, 0] > plain['video'][..., 0, 0]).all()
  batch = take(dataclasses.replace(config, mirror_actions='0:1 -2'))
  mirrored = batch['video'][:, 0, 0, 3, 0] < batch['video'][:, 0, 0, 0, 0]
  assert 2 < mirrored.sum() < 14
  assert (batch['actions'][~mirrored] == [1, 2, 3]).all()
  assert (batch['actions'][mirrored] == [2, 1, -3]).all()
  for rule, message in (('0-1', "like '0:1 -2'"), ('0:3', 'names action 3; there are 0 to 2')):
    with pytest.raises(UserError, match=message):
      take(dataclasses.replace(config, mirror_actions=rule))


def test_actions_of_another_length_are_named(tmp_path, caplog):
  _videos(tmp_path / 'data')
  np.save(tmp_path / 'data/b.npy', np.zeros(N - 2, int))
  (tmp_path / 'data/c.npy').unlink()
  for name in 'de':
    write_video(tmp_path / f'data/{name}.mkv', n_frames=N)
    np.save(tmp_path / f'data/{name}.npy', np.zeros(N, int))
  info = contents.describe(_config(tmp_path / 'data'))
  assert info.n_train + info.n_test == 3 and info.action_dim == 2
  assert 'b.mkv: 7 actions for 9 frames' in caplog.text
  assert 'c.mkv: no actions, which others have' in caplog.text


def test_actions_of_the_fewest_are_not_used(tmp_path):
  for name in 'abc':
    np.save(tmp_path / f'{name}.npy', grey_frames(N))
  (tmp_path / 'a.csv').write_text('action\n' + '0.5\n' * N)
  layout = layouts.find(_config(tmp_path))
  assert layout.action_dim is None and len(layout.entries) == 3
  (remark,) = layout.remarks
  assert remark.startswith('1 of 3 recordings have actions, and 2 have none: none are used')


@pytest.mark.parametrize(
  ('name', 'content', 'settings'),
  [
    ('a.csv', 'frame,action_x,action_y\n' + ''.join(f'{i},{i},-{i}\n' for i in range(N)), {}),
    ('a.csv', 't,p,q,r\n' + ''.join(f'{i},0,{i},-{i}\n' for i in range(N)), {'action_key': 'q, r'}),
    ('a.jsonl', '\n'.join(json.dumps({'action': [i, -i]}) for i in range(N)), {}),
    ('a.json', json.dumps({'acts': [[i, -i] for i in range(N)]}), {'action_key': 'acts'}),
    ('a.csv', ''.join(f'{i}.0,-{i}.0\n' for i in range(N)), {}),
    ('a.csv', 't;x;y\n' + ''.join(f'{i},5;{i},0;-{i},0\n' for i in range(N)), {}),
  ],
)
def test_actions_beside_a_video_in_many_forms(tmp_path, name, content, settings):
  write_images(tmp_path / 'a', range(N))
  (tmp_path / name).write_text(content)
  (entry,) = layouts.find(_config(tmp_path, **settings)).entries
  assert entry.actions[:, 0].tolist() == list(range(N))
  assert entry.actions[:, 1].tolist() == [-i for i in range(N)]


@pytest.mark.parametrize(
  ('stored', 'expected'),
  [
    ([0, 2, 1], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    ([-1, 1, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    ([[0], [1], [1]], [[1, 0], [0, 1], [0, 1]]),
    ([True, False, True], [[0, 1], [1, 0], [0, 1]]),
    ([[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 1], [0, 0]]),
    ([[0, 1], [1, 0], [0, 0]], [[0, 1], [1, 0], [0, 0]]),
    ([[0, 2], [1, 0], [0, 1]], [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [1, 0, 0, 1, 0]]),
    ([[0, -2], [1, 0], [0, 1]], [[0, -2], [1, 0], [0, 1]]),
    ([0.5, 1.5], [[0.5], [1.5], [0]]),
  ],
)
def test_whole_numbers_are_choices_where_they_can_be(stored, expected):
  settled = actions.settle({'a': np.array(stored)}, {'a': 3}, 'leads_from')
  assert settled.of['a'].tolist() == expected
  measured = 0.5 in stored or [0, -2] in stored or [1, 1] in stored
  assert settled.choices == (not measured)


def test_words_are_choices_and_a_missing_column_is_named(tmp_path):
  write_images(tmp_path / 'a', range(3))
  (tmp_path / 'a.csv').write_text('action\nleft\nright\nleft\n')
  (entry,) = layouts.find(_config(tmp_path)).entries
  assert entry.actions.tolist() == [[1, 0], [0, 1], [1, 0]]
  with pytest.raises(UserError, match=r'a\.csv has no column steer; it has action'):
    layouts.find(_config(tmp_path, action_key='steer'))


@pytest.mark.parametrize('layout', ['images', 'arrays', 'hdf5', 'tars', 'lerobot'])
def test_many_threads_read_at_once(layout, tmp_path):
  LAYOUTS[layout](tmp_path / 'data')
  entries = layouts.find(_config(tmp_path / 'data')).entries
  which = np.arange(N)

  def content(i):
    return np.stack(list(entries[i % len(entries)].recording.frames(which, None))).tobytes()

  expected = [content(i) for i in range(len(entries))]
  with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for i, found in enumerate(pool.map(content, range(400))):
      assert found == expected[i % len(entries)]
