"""How recordings lie in arrays, HDF5 and WebDataset."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.input.finding import found, grey, told
from tests.input.writing import (
  grey_frames,
  write_demos,
  write_frames,
  write_images,
  write_lerobot,
  write_tar,
  write_video,
)
from videogpt_jax.errors import UserError
from videogpt_jax.input.layouts import beside
from videogpt_jax.input.recording import BrokenRecordingError


@pytest.mark.parametrize(
  ('name', 'order', 'settings'),
  [
    ('mnist_test_seq.npy', 'TNHW', {}),
    ('a.npy', 'NTHWC', {}),
    ('a.npy', 'NTCHW', {}),
    ('clips_n_t_h_w.npy', 'NTHW', {}),
    ('a.npy', 'NTHW', {'axes': 'nthw'}),
    ('a.npy', 'TNHW', {'axes': 'T N H W'}),
    ('a.npy', 'NCTHW', {}),
  ],
)
def test_arrays_have_their_axes_by_name_setting_or_shape(tmp_path, name, order, settings):
  videos = np.stack([grey_frames(5), grey_frames(5, 7)])  # N T H W C
  videos = videos if 'C' in order else videos[..., 0]
  axes = 'NTHWC' if 'C' in order else 'NTHW'
  np.save(tmp_path / name, videos.transpose([axes.index(axis) for axis in order]))
  entries = found(tmp_path / name, **settings).entries
  assert [grey(entry) for entry in entries] == [[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]
  assert entries[0].recording.size == (6, 8)


def test_arrays_that_may_mean_several_things_are_refused(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros((7, 9, 6, 8), np.uint8))
  with pytest.raises(UserError, match=r'shape \[7, 9, 6, 8\].*dataset.axes'):
    found(tmp_path)
  with pytest.raises(UserError, match=r'dataset.axes is NTHWC'):
    found(tmp_path, axes='NTHWC')
  with pytest.raises(UserError, match=r'must have T, H and W'):
    found(tmp_path, axes='NHWC')


@pytest.mark.parametrize('scale', [1.0, 1 / 255])
def test_floats_are_pixels_up_to_255_or_up_to_1(tmp_path, scale):
  np.save(tmp_path / 'a.npy', grey_frames(26).astype(np.float32) * np.float32(scale))
  (entry,) = found(tmp_path).entries
  assert grey(entry) == list(range(26))


def test_npz_files_hold_an_episode_each_or_all_of_them(tmp_path):
  for name, first in (('train_0', 0), ('train_1', 3), ('test_0', 6)):
    np.savez(
      tmp_path / f'{name}.npz',
      video=grey_frames(3, first),
      actions=np.arange(3) % 2,
      label=name[:3],
    )
  layout = found(tmp_path)
  assert [(e.split, e.actions.shape) for e in layout.entries] == [
    ('test', (3, 2)),
    ('train', (3, 2)),
    ('train', (3, 2)),
  ]
  every = np.stack([grey_frames(3), grey_frames(3, 4)])
  np.savez(tmp_path / 'all.npz', clips=every, label=['x', 'y'], actions=np.ones((2, 3, 4)))
  layout = found(tmp_path / 'all.npz', video_key='clips')
  assert [(grey(e)[0], e.label, e.actions.shape) for e in layout.entries] == [
    (0, 'x', (3, 4)),
    (4, 'y', (3, 4)),
  ]
  with pytest.raises(UserError, match=r"no 'frames'; it has clips, label, actions"):
    found(tmp_path / 'all.npz', video_key='frames')


def test_hdf5_is_read_by_keys_with_wildcards_and_masks(tmp_path):
  write_demos(tmp_path / 'a.hdf5')
  layout = found(tmp_path / 'a.hdf5')
  assert [entry.split for entry in layout.entries] == ['train', 'val', 'train']
  assert layout.remarks == [
    'data/demo_*/obs/front_image is read; dataset.video_key may name data/demo_*/obs/wrist_image'
  ]
  for key in ('data/*/obs/wrist_image', 'wrist_image', 'data/demo_*/obs/wrist_image'):
    layout = found(tmp_path, video_key=key, action_key='data/*/actions')
    assert [grey(entry)[0] for entry in layout.entries] == [1, 6, 11]
    assert [entry.actions[0, 0] for entry in layout.entries] == [0, 1, 2]
  with pytest.raises(UserError, match=r'fits no key.*data/demo_\*/obs/front_image'):
    found(tmp_path, video_key='data/*/obs/side_image')
  with pytest.raises(UserError, match=r'action_key \(data/\*/acts\) fits no key'):
    found(tmp_path, action_key='data/*/acts')


def test_hdf5_may_hold_an_episode_a_file_and_compressed_pictures(tmp_path):
  import io

  for i in range(2):
    pictures = []
    for t, frame in enumerate(grey_frames(3, 3 * i, size=(16, 16))):
      frame = frame[:12] if i and t else frame
      Image.fromarray(frame).save(buffer := io.BytesIO(), 'JPEG', quality=95)
      pictures.append(np.frombuffer(buffer.getvalue(), np.uint8))
    longest = max(map(len, pictures))
    padded = np.stack([np.pad(picture, (0, longest - len(picture))) for picture in pictures])
    with h5py.File(tmp_path / f'episode_{i}.hdf5', 'w') as file:
      file['observations/images/top'] = padded
      file['action'] = np.zeros((3, 14))
  layout = found(tmp_path)
  assert [grey(entry) for entry in layout.entries] == [[0, 1, 2], [3, 4, 5]]
  first, second = (entry.recording for entry in layout.entries)
  assert layout.action_dim == 14 and first.name == 'episode_0.hdf5'
  assert first.size == (16, 16) and second.size is None
  assert 'change size (16x16, 16x12)' in second.remarks[0]


def test_the_published_hdf5_is_a_layout_too(tmp_path):
  with h5py.File(tmp_path / 'a.h5', 'w') as file:
    file['train_data'], file['train_idx'] = grey_frames(10), [0, 4]
    file['test_data'], file['test_idx'] = grey_frames(3), [0]
  assert [(n, split) for _, n, split, _ in told(tmp_path / 'a.h5')] == [
    (4, 'train'),
    (6, 'train'),
    (3, 'test'),
  ]


def test_webdataset_holds_videos_or_frames_with_classes_and_actions(tmp_path):
  video = write_video(tmp_path / 'a.mkv').read_bytes()
  write_images(tmp_path / 'i', range(3), first=2)
  images = [(tmp_path / f'i/{i}.png').read_bytes() for i in range(3)]
  np.save(tmp_path / 'x.npy', np.arange(8) % 2)
  actions, others = (
    (tmp_path / 'x.npy').read_bytes(),
    json.dumps({'label': 'b', 'actions': [0, 1, 1]}),
  )
  (tmp_path / 'tars').mkdir()
  write_tar(
    tmp_path / 'tars/train-000.tar',
    {'one.mkv': video, 'one.cls': b'a', 'one.actions.npy': actions}
    | {f'two.{i}.png': image for i, image in enumerate(images)}
    | {'two.json': others.encode()},
  )
  write_tar(
    tmp_path / 'tars/val-000.tar',
    {f'three/{i:03d}.png': image for i, image in enumerate(images)}
    | {'three/label.json': others.encode()},
  )
  layout = found(tmp_path / 'tars')
  assert [(e.recording.name, e.split, e.label, grey(e)) for e in layout.entries] == [
    ('train-000.tar:one', 'train', 'a', list(range(8))),
    ('train-000.tar:two', 'train', 'b', [2, 3, 4]),
    ('val-000.tar:three', 'val', 'b', [2, 3, 4]),
  ]
  assert layout.entries[1].actions.tolist() == [[1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize('keep', [0.5, 0.97])
def test_an_npz_that_was_cut_short_is_left_out_by_name(keep, tmp_path):
  for name in 'abc':
    np.savez(tmp_path / f'{name}.npz', video=grey_frames(9))
  whole = (tmp_path / 'b.npz').read_bytes()
  (tmp_path / 'b.npz').write_bytes(whole[: int(keep * len(whole))])
  layout = found(tmp_path)
  assert [entry.recording.name for entry in layout.entries] == ['a.npz', 'c.npz']
  (skipped,) = layout.skipped
  assert skipped.name == 'b.npz' and 'cannot be read' in skipped.reason


def test_what_lies_beside_a_recording_and_is_broken_is_named(tmp_path):
  np.save(tmp_path / 'a.npy', grey_frames(9))
  np.savez(tmp_path / 'a.npz', actions=np.zeros((9, 2)))
  (tmp_path / 'a.npz').write_bytes((tmp_path / 'a.npz').read_bytes()[:100])
  with pytest.raises(UserError, match=r'a\.npz cannot be read'):
    beside.read('.npz', (tmp_path / 'a.npz').read_bytes(), '', 'a.npz')


def test_lerobots_video_that_is_cut_or_missing_costs_its_episodes(tmp_path):
  write_lerobot(tmp_path, n_episodes=4, videos=True)
  first, second, *_ = sorted(tmp_path.glob('videos/*/*/*.mp4'))
  first.unlink()
  write_frames(second, grey_frames(5), rate=5)
  layout = found(tmp_path)
  name = 'videos/chunk-000/observation.image/episode_00000'
  assert [str(line) for line in layout.skipped] == [
    f'episode 0: {name}0.mp4 is missing',
    f'episode 1: {name}1.mp4 has 5 frames; the episode is 9 frames from 0 s on',
  ]


@pytest.mark.parametrize('broken', ['episodes.jsonl', 'fps', 'data_path', 'features', 'splits'])
def test_lerobots_description_that_lacks_something_is_one_line(tmp_path, broken):
  write_lerobot(tmp_path, n_episodes=2)
  if broken.endswith('.jsonl'):
    (tmp_path / 'meta' / broken).write_text('{"episode_index": 0, "tasks"')
  else:
    info = json.loads((tmp_path / 'meta/info.json').read_text())
    info[broken] = {'train': '0:x'} if broken == 'splits' else None
    (tmp_path / 'meta/info.json').write_text(json.dumps(info))
  with pytest.raises(UserError, match='meta does not describe a LeRobot data set') as error:
    found(tmp_path)
  assert '\n' not in str(error.value)


def test_lerobots_description_that_is_broken_is_named(tmp_path):
  for name in ('meta/info.json', 'data/chunk-000/file-000.parquet'):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text('{"features":')
  with pytest.raises(UserError, match=r'meta/info.json cannot be read'):
    found(tmp_path)


def test_a_tar_that_was_cut_keeps_its_whole_samples(tmp_path):
  video = write_video(tmp_path / 'a.mkv').read_bytes()
  files = {f'{n}.{kind}': c for n in 'abc' for kind, c in (('mkv', video), ('cls', b'x'))}
  write_tar(tmp_path / 'a.tar', files)
  content = (tmp_path / 'a.tar').read_bytes()
  (tmp_path / 'a.tar').write_bytes(content[: content.rindex(b'c.mkv') + 600])
  layout = found(tmp_path / 'a.tar')
  assert [entry.label for entry in layout.entries] == ['x']  # the last file may be cut too
  (line,) = layout.skipped
  assert line.name == 'a.tar' and line.reason.startswith('cut short after 4 files')


def test_numbers_that_are_none_break_the_frames_that_hold_them(tmp_path):
  video = np.zeros((40, 4, 4, 3), np.float32)
  video[7] = np.nan
  np.save(tmp_path / 'a.npy', video)
  (entry,) = found(tmp_path / 'a.npy').entries
  list(entry.recording.frames(np.arange(8, 40), None))
  with pytest.raises(BrokenRecordingError, match='frame 7 holds NaN'):
    list(entry.recording.frames(np.arange(8), None))


def test_single_and_empty_values_in_hdf5_are_no_recordings(tmp_path):
  for i in range(2):
    with h5py.File(tmp_path / f'{i}.h5', 'w') as file:
      file['frames'], file['label'], file['title'] = grey_frames(4), i, 'a title'
      file['nothing'], file['gone'] = h5py.Empty('f4'), h5py.SoftLink('/nowhere')
  assert told(tmp_path) == [('0.h5', 4, None, '0'), ('1.h5', 4, None, '1')]
