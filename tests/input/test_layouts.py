"""How recordings lie in folders."""

import os

import numpy as np
import pytest
from PIL import Image

from data.formats import Options, folder
from tests.input.finding import found, grey, told
from tests.input.shared_inputs import INPUTS, needs_inputs
from tests.input.writing import grey_frames, write_images, write_lerobot, write_tar, write_video
from videogpt_jax.errors import UserError
from videogpt_jax.framing import Framing
from videogpt_jax.input import DatasetConfig, layouts
from videogpt_jax.input.layouts import walk
from videogpt_jax.input.layouts.divide import divide
from videogpt_jax.input.layouts.hold_out import group, hold_out
from videogpt_jax.input.recording import BrokenRecordingError, read


@pytest.mark.parametrize(
  ('names', 'held_out'),
  [
    (('train', 'val'), {'val'}),
    (('training', 'validation'), {'val'}),
    (('Train', 'Valid'), {'val'}),
    (('train', 'dev'), {'val'}),
    (('train', 'test'), {'test'}),
    (('training', 'val', 'testing'), {'val', 'test'}),
    (('train_videos', 'test_videos'), {'test'}),
    (('TrainingSet', 'ValidationSet'), {'val'}),
    (('train2017', 'val2017', 'test2017'), {'val', 'test'}),
  ],
)
def test_splits_have_the_names_that_people_use(tmp_path, names, held_out):
  for name in names:
    write_images(tmp_path / name / 'clip', range(3))
  layout = found(tmp_path)
  divided = divide(layout, DatasetConfig('folder', str(tmp_path), sequence_length=2))
  assert divided.splits.keys() == {'train', *held_out} and layout.classes() is None
  assert all(len(entries) == 1 for entries in divided.splits.values())


def test_classes_that_are_named_like_splits_stay_classes(tmp_path):
  for name in ('train_station', 'test_tube', 'train_ride'):
    write_images(tmp_path / name / 'clip', range(3))
    write_images(tmp_path / name / 'clip2', range(3))
  assert found(tmp_path).classes() == ('test_tube', 'train_ride', 'train_station')


def test_splits_may_lie_in_each_class_and_what_is_beside_them_is_named(tmp_path):
  for name in ('run/train/a', 'run/test/b', 'sit/train/c', 'sit/train/d', 'sit/other/e'):
    write_images(tmp_path / name, range(2))
  assert told(tmp_path) == [
    ('run/test/b', 2, 'test', 'run'),
    ('run/train/a', 2, 'train', 'run'),
    ('sit/train/c', 2, 'train', 'sit'),
    ('sit/train/d', 2, 'train', 'sit'),
  ]
  assert [line.name for line in found(tmp_path).skipped] == ['sit/other/e']


def test_links_are_followed_but_not_in_circles(tmp_path):
  write_video(tmp_path / 'elsewhere/a.mkv')
  (tmp_path / 'data').mkdir()
  os.symlink(tmp_path / 'elsewhere', tmp_path / 'data/linked')
  os.symlink(tmp_path / 'elsewhere/a.mkv', tmp_path / 'data/b.mkv')
  os.symlink(tmp_path / 'data', tmp_path / 'elsewhere/circle')
  assert [name for name, *_ in told(tmp_path / 'data')] == ['b.mkv', 'linked/a.mkv']


def test_a_video_is_what_opens_as_one(tmp_path):
  for name in ('a.mkv', 'b.mkv', 'c.mkv'):
    write_video(tmp_path / name)
  (tmp_path / 'b.mkv').rename(tmp_path / 'b')
  (tmp_path / 'c.mkv').rename(tmp_path / 'c.recording')
  (tmp_path / 'notes').write_text('nothing to see')
  (tmp_path / 'more.txt').write_text('nothing either')
  layout = found(tmp_path)
  assert [entry.recording.name for entry in layout.entries] == ['a.mkv', 'b', 'c.recording']
  assert [line.name for line in layout.skipped] == ['notes']


def test_a_folder_that_holds_one_folder_is_entered(tmp_path):
  for name in 'ab':
    write_images(tmp_path / 'set/frames' / name, range(2))
  assert [name for name, *_ in told(tmp_path)] == ['a', 'b']


def test_folders_of_one_file_each_of_the_same_name_are_no_classes(tmp_path):
  for i in range(3):
    np.savez(tmp_path / f'{i}.npz', video=grey_frames(2))
    (tmp_path / f'ep{i}').mkdir()
    (tmp_path / f'{i}.npz').rename(tmp_path / f'ep{i}/episode.npz')
  assert found(tmp_path).classes() is None


def test_images_are_in_the_order_of_their_numbers_and_gaps_are_named(tmp_path):
  write_images(tmp_path / 'a', [1, 2, 9, 10, 11])
  write_images(tmp_path / 'b', [0, 5, 10, 15], 'frame_{:04d}.jpg')
  layout = found(tmp_path)
  assert [grey(entry) for entry in layout.entries] == [[0, 1, 2, 3, 4], [0, 1, 2, 3]]
  assert layout.remarks == ['a: no frame 3 to 8']


def test_series_in_one_folder_are_told_apart(tmp_path):
  write_images(tmp_path, range(3), 'run1_{:03d}_left8bit.png')
  write_images(tmp_path, range(4), 'run2_{:03d}_left8bit.png', first=5)
  write_images(tmp_path, range(2), 'depth_{}.png')
  lengths = [(name, n) for name, n, *_ in told(tmp_path)]
  assert lengths == [('depth_*', 2), ('run1_*_left8bit', 3), ('run2_*_left8bit', 4)]
  assert grey(found(tmp_path).entries[2]) == [5, 6, 7, 8]


def test_images_of_every_kind_become_colours(tmp_path):
  (tmp_path / 'a').mkdir()
  clear = np.zeros((4, 4, 4), np.uint8)
  kinds = {
    '1.png': Image.fromarray(np.full((4, 4), 40, np.uint8)),
    '2.png': Image.fromarray(clear),  # nothing but white background shows
    '3.tif': Image.fromarray(np.full((4, 4), 40 << 8, np.uint16)),
    '4.png': Image.fromarray(np.full((4, 4, 3), 40, np.uint8)).quantize(2),
  }
  for name, image in kinds.items():
    image.save(tmp_path / 'a' / name)
  series = {name: None for name in kinds}
  (entry,) = found(tmp_path).entries
  assert len(entry.recording) == len(series) and grey(entry) == [4, 26, 4, 4]


def test_names_that_are_no_utf8_and_closed_folders_are_told(tmp_path):
  for name in (b'a.mkv', b'caf\xe9.mkv'):
    os.rename(write_video(tmp_path / 'x.mkv'), os.fsencode(tmp_path) + b'/' + name)
  (tmp_path / 'text.mp4').write_text('no video')
  layout = found(tmp_path)
  assert [entry.recording.name for entry in layout.entries] == ['a.mkv', 'caf\\xe9.mkv']
  assert [grey(entry)[:3] for entry in layout.entries] == [[0, 1, 2]] * 2
  assert [line.name for line in layout.skipped] == ['text.mp4']


def test_a_set_with_a_split_somewhere_below_is_one_set(tmp_path):
  for name in ('x/train/a', 'y/b', 'y/c', 'z/d'):
    write_images(tmp_path / name, range(2))
  assert len(told(tmp_path)) == 4


def test_folders_of_nothing_and_no_folders_are_refused(tmp_path):
  with pytest.raises(UserError, match='does not exist'):
    found(tmp_path / 'none')
  with pytest.raises(UserError, match='holds nothing, and no usable clip'):
    found(tmp_path)
  (tmp_path / 'a.pdf').touch()
  with pytest.raises(UserError, match=r'holds files of kind \.pdf'):
    found(tmp_path)


def test_one_recording_is_divided_with_a_gap(tmp_path):
  write_images(tmp_path / 'only', range(1, 101))
  config = DatasetConfig('folder', str(tmp_path), sequence_length=8, test_fraction=0.2)
  divided = divide(layouts.find(config), config)
  (train,), test = divided.splits['train'], divided.splits['test']
  assert len(train.recording) == 72 and [len(entry.recording) for entry in test] == [8, 8]
  assert [part.recording.first for part in test] == [80, 92]
  assert 'the last 20 of the 100 frames' in divided.said and 'gap of 8' in divided.said
  short = DatasetConfig('folder', str(tmp_path), sequence_length=51)
  divided = divide(layouts.find(short), short)
  assert divided.remarks == [
    'only is too short to be divided: 2 held-out frames are in training too'
  ]
  assert [len(e.recording) for part in divided.splits.values() for e in part] == [51, 51]


PARTS = [f'talks/interview{source}_{part:03}' for source in range(6) for part in range(1, 5)]


@pytest.mark.parametrize(
  ('names', 'pattern', 'n_groups'),
  [
    (PARTS, r'(.+)_\d+', 6),
    (PARTS, r'interview\d+', 6),
    ([f'{name[:16]}/{name[17:]}' for name in PARTS], '.+/', 6),
    ([f'{name}_{side}' for name in PARTS for side in ('left', 'right')], '(.+)_', 24),
    (['alone', *PARTS], r'(.+)_\d+', 7),
  ],
)
@pytest.mark.parametrize('fraction', [0.001, 0.2, 0.5, 0.99])
def test_recordings_of_one_source_are_held_out_together(names, pattern, n_groups, fraction):
  held_out, how = hold_out(names, fraction, pattern)
  assert held_out == hold_out(names[::-1], fraction, pattern)[0]
  groups = [{group(name, pattern) for name in part} for part in (held_out, {*names} - held_out)]
  assert all(groups) and not groups[0] & groups[1] and len(groups[0] | groups[1]) == n_groups
  largest = len(names) - len(names) // n_groups
  assert abs(len(held_out) - min(fraction * len(names), largest)) <= 4
  assert f'{len(groups[0])} of {n_groups} groups' in how


def test_without_groups_a_fraction_is_held_out_by_name():
  for fraction, n in {0.001: 1, 0.3: 3, 0.99: 9}.items():
    assert len(hold_out([str(i) for i in range(10)], fraction)[0]) == n


def test_groups_that_cannot_be_held_out_or_are_torn_apart_are_told(tmp_path):
  for name in ('a_1', 'a_2', 'b_1'):
    write_images(tmp_path / 'data' / name, range(3))
    write_images(tmp_path / 'split' / ('val' if name == 'a_2' else 'train') / name, range(3))
  divided = lambda pattern, data='data': divide(
    found(tmp_path / data), DatasetConfig('folder', 'x', sequence_length=2, group=pattern)
  )
  splits = {
    split: [entry.recording.name for entry in entries]
    for split, entries in divided('(.+)_').splits.items()
  }
  assert splits == {'train': ['a_1', 'a_2'], 'test': ['b_1']}
  assert divided('([ab])_', 'split').remarks == ['groups in training and held out: a']
  for pattern, message in {'_': 'one group', 'c': 'matches no recording, such as a_1'}.items():
    with pytest.raises(UserError, match=message):
      divided(pattern)
  with pytest.raises(UserError, match=r'\(.\(.\) is no regular expression'):
    divided('(')
  with pytest.raises(UserError, match=r'names of recordings.*--group'):
    DatasetConfig('tfrecord', 'x', group='(.+)_')


def test_the_held_out_part_of_one_recording_stays_whole_in_shards(tmp_path):
  write_images(tmp_path / 'only', range(1, 101))
  listing = folder.list_items(str(tmp_path), Options())
  assert [(item.split, len(item.entry.recording)) for item in listing.items] == [
    ('train', 68),
    ('test', 16),
  ]
  assert [item.entry.recording.first for item in listing.items] == [0, 84]


SHARED = {
  'layout_train_val': (3, 24, {'train': 2, 'val': 1}, None, None),
  'layout_frames': (3, 18, {}, None, None),
  'layout_list': (3, 24, {'train': 2, 'test': 1}, ('jump', 'wave'), None),
  'actions_beside': (3, 24, {}, None, 3),
  'npz_episodes': (3, 18, {}, None, 4),
  'array_t_n_h_w.npy': (3, 18, {}, None, None),
  'robomimic_layout.hdf5': (3, 18, {'train': 2, 'val': 1}, None, 7),
}


@needs_inputs
@pytest.mark.parametrize('name', SHARED)
def test_the_shared_layouts_are_read(name):
  n, length, splits, classes, action_dim = SHARED[name]
  layout = found(INPUTS / name)
  assert [len(entry.recording) for entry in layout.entries] == [length] * n
  assert layouts.layout.counts(layout.entries) == splits
  assert layout.classes() == classes and layout.action_dim == action_dim
  for entry in layout.entries:
    video = read(entry.recording, np.array([0, length - 1]), Framing((16, 16)))
    assert video.shape == (2, 16, 16, 3) and video.std() > 1


@needs_inputs
def test_lerobot_gives_what_its_own_reader_gives():
  with np.load(INPUTS / 'lerobot_v3/expected.npz') as expected:
    wanted = {key: expected[key] for key in expected.files}
  layout = found(INPUTS / 'lerobot_v3', video_key=str(wanted['camera']))
  assert [len(entry.recording) for entry in layout.entries] == [20, 26, 18]
  for number, entry in enumerate(layout.entries):
    which = wanted['episode'] == number
    shown = np.stack(list(entry.recording.frames(np.arange(len(entry.recording)), None)))
    assert np.abs(shown.astype(float) - wanted['frames'][which]).mean() <= 2
    np.testing.assert_array_equal(entry.actions, wanted['actions'][which])
  with pytest.raises(UserError, match=r'no camera.*images\.top, observation\.images\.wrist'):
    found(INPUTS / 'lerobot_v3', video_key='front')


def test_links_that_multiply_end_and_what_is_no_file_is_left_out(tmp_path):
  circle = [tmp_path / 'data' / f'd{i}' for i in range(12)]
  for one in circle:
    write_images(one, range(3))
    for other in circle:
      (one / f'to {other.name}').symlink_to(other)
  (tmp_path / 'data/up').symlink_to('/')
  (tmp_path / 'data/gone.mp4').symlink_to('nowhere')
  os.mkfifo(tmp_path / 'data/pipe.mp4')
  names = walk.look(str(tmp_path / 'data')).names
  assert {f'd{i}/0.png' for i in range(12)} < set(names) and 'gone.mp4' in names
  assert len(names) < 12 * 12 * 8 * 3 and not any(n.startswith(('up', 'pipe')) for n in names)


def test_a_frame_of_another_size_or_that_is_broken_is_told_in_tars_and_tables_too(tmp_path):
  odd = Image.fromarray(grey_frames(1, size=(9, 8))[0])
  write_images(tmp_path / 'a', range(4))
  odd.save(tmp_path / 'a/2.png')
  images = [(tmp_path / f'a/{i}.png').read_bytes() for i in range(3)]
  whole = {f'w.{i}.png': images[0] for i in range(3)}
  write_tar(tmp_path / 'a.tar', whole | {f'x.{i}.png': image for i, image in enumerate(images)})
  write_lerobot(tmp_path / 'robot', 2)
  table = tmp_path / 'robot/data/chunk-000/episode_000001.parquet'
  _replace_image(table, 6, images[2])
  for path in (tmp_path / 'a.tar', tmp_path / 'robot'):
    first, last = (entry.recording for entry in found(path).entries)
    assert first.size == (6, 8) and last.size is None
    assert 'change size (8x6, 8x9)' in last.remarks[0]
  write_tar(tmp_path / 'b.tar', {'x.0.png': images[0], 'x.1.png': images[1][:20]})
  (entry,) = found(tmp_path / 'b.tar').entries
  assert entry.recording.remarks[0].startswith('frames that cannot be read: x.1.png (no readable')


def _replace_image(table, row, content):
  import pyarrow as pa
  import pyarrow.parquet as pq

  rows = pq.read_table(table).to_pylist()
  rows[row]['observation.image'] = {'bytes': content, 'path': None}
  pq.write_table(pa.Table.from_pylist(rows), table, row_group_size=1)


def test_a_frame_of_another_size_among_images_is_remarked_on(tmp_path):
  for name in 'ab':
    write_images(tmp_path / name, range(4))
  Image.fromarray(grey_frames(1, size=(9, 8))[0]).save(tmp_path / 'b/2.png')
  config = DatasetConfig('folder', str(tmp_path), sequence_length=2)
  layout = found(tmp_path)
  assert [entry.recording.size for entry in layout.entries] == [(6, 8), None]
  assert divide(layout, config).remarks == [
    'b: its frames change size (8x6, 8x9); each is resized for itself'
  ]


@pytest.mark.parametrize(
  ('form', 'settings', 'times'),
  [
    ('webp', {'duration': [100, 100, 300, 5], 'lossless': True}, [0, 0.1, 0.2, 0.5]),
    ('png', {'duration': 100}, None),
    ('tif', {}, None),
  ],
)
def test_an_animated_picture_is_a_recording(tmp_path, form, settings, times):
  for name in ('x/1', 'x/2', 'y/b'):
    path = tmp_path / f'{name}.{form}'
    path.parent.mkdir(exist_ok=True)
    first, *others = map(Image.fromarray, grey_frames(4, int(name == 'y/b')))
    first.save(path, save_all=True, append_images=others, **settings)
  first.save(tmp_path / f'y/still.{form}')
  (tmp_path / 'x/1.csv').write_text('action\n0.5\n1.5\n2.5\n')
  layout = found(tmp_path, action_key='action')
  assert [line.name for line in layout.skipped] == [f'y/still.{form}', f'x/2.{form}', f'y/b.{form}']
  layout = found(tmp_path)
  assert [(entry.recording.name, entry.label, grey(entry)) for entry in layout.entries] == [
    (f'x/1.{form}', 'x', [0, 1, 2, 3]),
    (f'x/2.{form}', 'x', [0, 1, 2, 3]),
    (f'y/b.{form}', 'y', [1, 2, 3, 4]),
  ]
  assert layout.kind == 'an animated picture each'
  (recording,) = layouts.recordings_at(str(tmp_path / f'x/1.{form}'))
  assert len(recording) == 4 and recording.size == (6, 8)
  assert times is None or recording.times.tolist() == times
  content = (tmp_path / f'x/1.{form}').read_bytes()
  (tmp_path / f'x/1.{form}').write_bytes(content[: len(content) // 3])
  with pytest.raises(BrokenRecordingError):
    list(recording.frames(np.arange(4), None))


def test_pictures_alone_are_counted_and_packed_files_are_hinted_at(tmp_path):
  write_images(tmp_path / 'a', range(3))
  write_images(tmp_path, ['cat', 'dog'])
  (tmp_path / 'more.tar.gz').touch()
  layout = found(tmp_path)
  assert [line.name for line in layout.skipped] == ['cat.png', 'dog.png']
  assert layout.remarks == ('more.tar.gz: packed, and not read; unpack what holds recordings',)
  with pytest.raises(UserError, match=r'holds files of kind \.gz, and no usable clip; unpack more'):
    found(tmp_path / 'more.tar.gz')
