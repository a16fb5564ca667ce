"""The raw data sets, in miniature, as they are when downloaded."""

import gzip
import threading

import h5py
import numpy as np
import pytest
import tensorflow as tf

from data.formats import (
  Item,
  Options,
  UnusableError,
  bair,
  kinetics600,
  moving_mnist,
  robonet,
  tgif,
  ucf101,
  vizdoom,
)
from tests.input.writing import write_video

OPTIONS = Options()


def _of(listing):
  return [(item.name, item.split, item.label) for item in listing.items]


def test_ucf101_follows_the_official_lists(tmp_path):
  lists = tmp_path / 'ucfTrainTestlist'
  lists.mkdir()
  (tmp_path / 'UCF-101').mkdir()
  (lists / 'classInd.txt').write_text('1 Archery\n2 Bowling\n')
  (lists / 'trainlist02.txt').write_text('Archery/v_1.avi 1\nBowling/v_2.avi 2\n')
  (lists / 'testlist02.txt').write_text('Bowling/v_3.avi\n')
  listing = ucf101.list_items(str(tmp_path), Options(official_split=2))
  assert listing.class_names == ['Archery', 'Bowling']
  assert _of(listing) == [
    ('Archery/v_1.avi', 'train', 0),
    ('Bowling/v_2.avi', 'train', 1),
    ('Bowling/v_3.avi', 'test', 1),
  ]
  (tmp_path / 'UCF-101/bowling').mkdir()
  (tmp_path / 'UCF-101/bowling/V_3.avi').touch()  # the lists spell some names in another way
  assert ucf101.list_items(str(tmp_path), Options(official_split=2)).items[2].path == str(
    tmp_path / 'UCF-101/bowling/V_3.avi'
  )
  with pytest.raises(ValueError, match=r'official_split \(4\)'):
    ucf101.list_items(str(tmp_path), Options(official_split=4))
  with pytest.raises(ValueError, match='must hold UCF-101/'):
    ucf101.list_items(str(lists), OPTIONS)


def test_kinetics_takes_the_clips_that_are_there(tmp_path):
  header = 'label,youtube_id,time_start,time_end,split\n'
  (tmp_path / 'train.csv').write_text(f'{header}juggling,aaa,3,13,train\nyoga,bbb,0,10,train\n')
  (tmp_path / 'validate.csv').write_text(f'{header}yoga,ccc,7,17,validate\n')
  for name in ('videos/aaa_000003_000013.mp4', 'videos/yoga/ccc_000007_000017.mp4'):
    write_video(tmp_path / name)
  listing = kinetics600.list_items(str(tmp_path), OPTIONS)
  assert _of(listing) == [('aaa_000003_000013', 'train', 0), ('ccc_000007_000017', 'test', 1)]
  (tmp_path / 'validate.csv').unlink()
  with pytest.raises(ValueError, match='lacks the list'):
    kinetics600.list_items(str(tmp_path), OPTIONS)


def test_tgif_follows_its_lists(tmp_path):
  for name, gif in {'train': 'a', 'val': 'b', 'test': 'c'}.items():
    (tmp_path / f'{name}.txt').write_text(
      f'https://example.org/{gif}.gif\nhttps://example.org/x.gif\n'
    )
    (tmp_path / f'{gif}.gif').touch()
  assert _of(tgif.list_items(str(tmp_path), OPTIONS)) == [
    ('a.gif', 'train', None),
    ('b.gif', 'train', None),
    ('c.gif', 'test', None),
  ]


def _write_bair(path):
  path.parent.mkdir(parents=True)
  with tf.io.TFRecordWriter(str(path)) as writer:
    for r in range(2):
      features = {}
      for t in range(30):
        for camera, add in (('image_main', 0), ('image_aux1', 100)):
          image = np.full((64, 64, 3), 40 * r + t + add, np.uint8).tobytes()
          value = tf.train.BytesList(value=[image])
          features[f'{t}/{camera}/encoded'] = tf.train.Feature(bytes_list=value)
        value = tf.train.FloatList(value=[t, r, 0, 1])
        features[f'{t}/action'] = tf.train.Feature(float_list=value)
      example = tf.train.Example(features=tf.train.Features(feature=features))
      writer.write(example.SerializeToString())


def test_bair_gives_one_camera_and_the_actions(tmp_path):
  for split in ('train', 'test'):
    _write_bair(tmp_path / 'softmotion30_44k' / split / 'traj_0_to_1.tfrecords')
  listing = bair.list_items(str(tmp_path), OPTIONS)
  assert [item.split for item in listing.items] == ['train', 'test']
  clips = list(bair.read(listing.items[0], OPTIONS))
  assert [int(clip.frames[3][0, 0, 0]) for clip in clips] == [103, 143]
  assert clips[1].actions.shape == (30, 4) and clips[1].actions[5].tolist() == [5, 1, 0, 1]
  main = next(bair.read(listing.items[0], Options(camera='image_main', frame_skip=2)))
  assert [int(frame[0, 0, 0]) for frame in main.frames[:3]] == [0, 2, 4]
  assert main.actions[[0, 1, 14], 0].tolist() == [0 + 1, 2 + 3, 28 + 29]
  path = tmp_path / 'softmotion30_44k/train/traj_0_to_1.tfrecords'
  path.write_bytes(path.read_bytes()[:-5])
  with pytest.raises(UnusableError, match='breaks off'):
    list(bair.read(listing.items[0], OPTIONS))


def test_robonet_decodes_the_video_inside_a_trajectory(tmp_path):
  video = write_video(tmp_path / 'a.mp4', n_frames=6).read_bytes()
  with h5py.File(tmp_path / 'a.hdf5', 'w') as file:
    file['env/cam1_video/frames'] = np.frombuffer(video, np.uint8)
    file['policy/actions'] = np.arange(20).reshape(5, 4)
  (item,) = robonet.list_items(str(tmp_path), OPTIONS).items
  (clip,) = robonet.read(item, Options(camera='1'))
  assert [round(frame.mean() / 10) for frame in clip.frames] == [0, 1, 2, 3, 4, 5]
  assert clip.actions[4].tolist() == [16, 17, 18, 19] and clip.actions[5].tolist() == [0, 0, 0, 0]
  (thin,) = robonet.read(item, Options(camera='1', frame_skip=2))
  assert len(thin.frames) == 3
  assert thin.actions[:, 0].tolist() == [0 + 4, 8 + 12, 16 + 0]  # the last frame's is zero
  with pytest.raises(UnusableError, match='cam0_video'):
    list(robonet.read(item, OPTIONS))


@pytest.mark.parametrize(('image_format', 'channel'), [('RGB', 0), ('BGR', 2)])
def test_robonet_decodes_the_pictures_inside_a_trajectory(tmp_path, image_format, channel):
  blue = np.zeros((16, 24, 3), np.uint8)
  blue[..., 2] = 200
  jpeg = np.frombuffer(tf.io.encode_jpeg(blue, quality=100).numpy(), np.uint8)
  with h5py.File(tmp_path / 'a.hdf5', 'w') as file:
    for t in range(12):
      file[f'env/cam0_video/frame{t}'] = jpeg
    file['env/cam0_video/frame0'].attrs['image_format'] = image_format
    file['policy/actions'] = np.ones((11, 4))
  (item,) = robonet.list_items(str(tmp_path), OPTIONS).items
  (clip,) = robonet.read(item, OPTIONS)
  assert len(clip.frames) == 12 and clip.actions.sum() == 44
  assert clip.frames[11].mean((0, 1)).argmax() == channel


def test_moving_mnist_moves_two_digits_and_keeps_the_published_test(tmp_path):
  rng = np.random.default_rng(0)
  published = rng.integers(0, 255, (20, 3, 64, 64), dtype=np.uint8)
  np.save(tmp_path / 'mnist_test_seq.npy', published)
  images = np.zeros((5, 28, 28), np.uint8)
  images[:, 8:20, 10:18] = 200
  header = np.array([2051, 5, 28, 28], '>i4').tobytes()
  with gzip.open(tmp_path / 'train-images-idx3-ubyte.gz', 'wb') as file:
    file.write(header + images.tobytes())
  listing = moving_mnist.list_items(str(tmp_path), Options(n_generated=1500))
  assert [(item.split, item.first, item.count) for item in listing.items] == [
    ('train', 0, 1000),
    ('train', 1000, 500),
    ('test', 0, 3),
  ]
  test = list(moving_mnist.read(listing.items[2], OPTIONS))
  np.testing.assert_array_equal(test[1].frames[..., 0], published[:, 1])
  clips = [
    c.frames for c in moving_mnist.read(Item('a', 'train', listing.items[0].path, count=3), OPTIONS)
  ]
  assert clips[0].shape == (20, 64, 64, 1) and (clips[0] != clips[1]).any()
  lit = (clips[0] == 200).sum((1, 2, 3))
  assert (
    96 < lit.max() <= 2 * 96 and lit.min() >= 96
  )  # two blocks of 96 pixels, sometimes overlapping


def test_vizdoom_records_what_a_random_policy_sees():
  listing = vizdoom.list_items('health_gathering_supreme', Options(n_generated=3))
  assert [item.split for item in listing.items] == ['train'] * 3 + ['test']
  assert listing.class_names is None
  assert listing.action_names[:4:3] == ('NOTHING', 'TURN_RIGHT+MOVE_FORWARD')
  assert len(listing.action_names) == 8
  (clip,) = vizdoom.read(listing.items[0], OPTIONS)
  assert len(clip.frames) == 100 and clip.frames[0].shape == (120, 160, 3)
  assert clip.actions.shape == (100, 8) and (clip.actions.sum(1) == 1).all()
  assert len({frame.tobytes() for frame in clip.frames}) > 20
  (again,) = vizdoom.read(listing.items[0], OPTIONS)
  np.testing.assert_array_equal(clip.frames, again.frames)
  with pytest.raises(ValueError, match='must be one of'):
    vizdoom.list_items('no_such_scenario', OPTIONS)


def test_games_of_vizdoom_begin_and_leave_a_folder_one_at_a_time(tmp_path, monkeypatch):
  """Each makes a folder there if there is none, and one that another has removed ends it."""
  monkeypatch.chdir(tmp_path)
  entered = threading.Event()

  def enter():
    with vizdoom._folder_to_itself():
      entered.set()

  other = threading.Thread(target=enter)
  with vizdoom._folder_to_itself():
    other.start()
    assert not entered.wait(0.2)
  other.join(10)
  assert entered.is_set() and not list(tmp_path.iterdir())


def test_a_recording_of_vizdoom_ends_where_the_player_dies():
  listing = vizdoom.list_items('health_gathering_supreme', OPTIONS)
  (clip,) = vizdoom.read(listing.items[1], OPTIONS)  # the acid kills after 96 steps
  assert len(clip.frames) == len(clip.actions) == 96


def test_whoever_explores_vizdoom_sees_more_open_ground():
  options = Options(n_generated=40, policy='mixed')
  listing = vizdoom.list_items('health_gathering_supreme', options)
  assert listing.class_names == vizdoom.POLICIES
  is_open = {policy: [] for policy in vizdoom.POLICIES}
  for item in listing.items[:24]:
    clips = [np.stack(clip.frames).astype(int) for clip in vizdoom.read(item, options)]
    red, green, blue = np.moveaxis(np.concatenate(clips), -1, 0)
    floor_or_sky = (green > red + 15) | (blue > red + 15)
    is_open[vizdoom.POLICIES[item.label]].append(floor_or_sky.mean((1, 2)) > 0.2)
  shares = {policy: np.concatenate(values).mean() for policy, values in is_open.items()}
  assert shares['explore'] > 0.65 and shares['random'] < 0.5
  with pytest.raises(ValueError, match=r'policy .*wander.* must be one of random, explore, mixed'):
    vizdoom.list_items('health_gathering_supreme', Options(policy='wander'))


def test_choices_of_vizdoom_are_not_added_up(monkeypatch):
  monkeypatch.setattr(vizdoom, '_scenario', lambda name: name)
  with pytest.raises(ValueError, match=r'basic: its actions are choices.*frame_skip=1'):
    vizdoom.list_items('basic', Options(frame_skip=2))


def test_options_that_a_format_does_not_take_are_refused():
  for name in ('bair', 'robonet', 'vizdoom', 'moving_mnist'):
    with pytest.raises(ValueError, match=rf'fps \(5.0\) needs time stamps, which {name} lacks'):
      Options(fps=5.0).check_format(name)
  for name in ('ucf101', 'bair'):
    with pytest.raises(ValueError, match=f'is for format folder; {name} has its own split'):
      Options(group='(.+)_').check_format(name)
    with pytest.raises(ValueError, match=rf'is for format vizdoom; {name} is not recorded here'):
      Options(policy='explore').check_format(name)
  Options(fps=5.0, group='(.+)_').check_format('folder')
