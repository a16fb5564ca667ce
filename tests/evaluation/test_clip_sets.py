import fractions

import av
import numpy as np
import pytest
from PIL import Image

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import clip_sets, protocols

_RNG = np.random.default_rng(0)


def _floats(n=3, t=4, h=6, w=5, c=3):
  return _RNG.random((n, t, h, w, c), dtype=np.float32)


def test_floats_become_the_nearest_of_256_levels():
  array = _floats()
  read = clip_sets.ArrayClips(array).read([2, 0])
  assert read.dtype == np.uint8
  np.testing.assert_array_equal(read, np.round(array[[2, 0]] * 255).astype(np.uint8))
  centred = clip_sets.ArrayClips(array - 0.5, clip_sets.ClipConfig(float_range=(-0.5, 0.5)))
  np.testing.assert_array_equal(centred.read([2, 0]), read)


def test_grey_clips_get_three_colours():
  grey = _floats(c=1)
  read = clip_sets.ArrayClips(grey).read([1])
  assert read.shape == (1, 4, 6, 5, 3)
  np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_frames_are_chosen_as_stated():
  numbers = np.broadcast_to(np.arange(11, dtype=np.uint8)[:, None, None, None], (5, 11, 4, 4, 3))
  read = lambda **config: clip_sets.ArrayClips(numbers, clip_sets.ClipConfig(**config)).read(
    range(5)
  )
  frames = lambda **changes: read(**changes)[:, :, 0, 0, 0].tolist()
  assert frames(n_frames=3, frame_stride=2) == [[0, 2, 4]] * 5
  assert frames(n_frames=3, frame_stride=2, choice='middle') == [[3, 5, 7]] * 5
  assert frames(frame_stride=4)[0] == [0, 4, 8]
  random = frames(n_frames=4, choice='random', seed=1)
  assert random == frames(n_frames=4, choice='random', seed=1)
  assert random != frames(n_frames=4, choice='random', seed=2)
  assert len({clip[0] for clip in random}) > 1


def test_frames_are_resized_on_request():
  for resolution, size in ((4, (4, 4)), ((3, 5), (3, 5))):
    config = clip_sets.ClipConfig(resolution=resolution)
    read = clip_sets.ArrayClips(_floats(h=6, w=9), config).read([0, 1])
    assert read.shape == (2, 4, *size, 3) and read.dtype == np.uint8
  with pytest.raises(ValueError, match=r'resolution \(\(0, 5\)\) must be positive'):
    clip_sets.ClipConfig(resolution=(0, 5))


def test_a_folder_may_mix_arrays_images_and_videos(tmp_path):
  array = np.round(_floats(n=3, t=4, h=16, w=32) * 255).astype(np.uint8)
  np.save(tmp_path / 'a.npy', array[0])
  (tmp_path / 'b').mkdir()
  for i, frame in enumerate(array[1]):
    Image.fromarray(frame).save(tmp_path / 'b' / f'{i:03}.png')
  _write_video(tmp_path / 'c.mkv', array[2])
  folder = clip_sets.open_clips(tmp_path)
  assert len(folder) == 3
  read = folder.read([2, 0, 1])
  np.testing.assert_array_equal(read, array[[2, 0, 1]])
  assert folder.lossy == '.mkv'  # the container may be lossless; by its name none can tell


def test_numbers_in_names_count_as_numbers(tmp_path):
  for clip in (2, 10):
    (tmp_path / f'clip_{clip}').mkdir()
    for frame in range(12):
      grey = Image.fromarray(np.full((4, 4, 3), 20 * clip + frame, np.uint8))
      grey.save(tmp_path / f'clip_{clip}' / f'frame_{frame}.png')
  frames = clip_sets.open_clips(tmp_path).read([0, 1])[:, :, 0, 0, 0]
  np.testing.assert_array_equal(frames, [40 + np.arange(12), 200 + np.arange(12)])


def test_a_broken_image_is_named(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / '0.png').write_bytes(b'no image')
  with pytest.raises(UserError, match=r'cannot read image .*0\.png'):
    clip_sets.open_clips(tmp_path).read([0])


def _write_video(path, frames):
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=fractions.Fraction(25), options={'level': '3'})
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = 'bgr0'
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    container.mux(stream.encode())


def test_one_file_may_hold_all_clips(tmp_path):
  array = _floats()
  np.save(tmp_path / 'all.npy', array)
  np.savez(tmp_path / 'all.npz', video=array, label=np.arange(3))
  for name in ('all.npy', 'all.npz'):
    opened = clip_sets.open_clips(tmp_path / name)
    assert len(opened) == 3 and opened.lossy == ''
    np.testing.assert_array_equal(opened.read([1]), clip_sets.ArrayClips(array).read([1]))


def test_a_bad_value_is_named():
  array = _floats()
  array[2, 1, 3, 4, 0] = np.nan
  good = clip_sets.ArrayClips(array).read([0, 1])
  assert good.shape[0] == 2
  with pytest.raises(ValueError, match=r'clip 2 of samples holds NaN .*frame 1, row 3, column 4'):
    clip_sets.ArrayClips(array, origin='samples').read([0, 2])
  with pytest.raises(ValueError, match=r'outside \[0, 1\]; clip it, or give'):
    clip_sets.ArrayClips(_floats() - 0.5).read([0])


def test_sets_that_are_none_are_refused(tmp_path):
  with pytest.raises(ValueError, match='holds no clips'):
    clip_sets.open_clips(tmp_path)
  with pytest.raises(FileNotFoundError, match='no file or folder'):
    clip_sets.open_clips(tmp_path / 'nothing')
  with pytest.raises(ValueError, match='holds no clips'):
    clip_sets.ArrayClips(_floats(n=0))
  with pytest.raises(ValueError, match=r'must be \[N T H W C\]'):
    clip_sets.ArrayClips(_floats()[0])
  with pytest.raises(ValueError, match='must be uint8 or float'):
    clip_sets.ArrayClips(np.zeros((2, 3, 4, 4, 3), np.int64)).read([0])
  with pytest.raises(ValueError, match='has 4 frames, but a clip of 3 with stride 2 spans 5'):
    clip_sets.ArrayClips(_floats(), clip_sets.ClipConfig(n_frames=3, frame_stride=2)).read([0])
  np.savez(tmp_path / 'two.npz', a=np.zeros(2), b=np.zeros(2))
  with pytest.raises(ValueError, match="call the array of clips 'video'"):
    clip_sets.open_clips(tmp_path / 'two.npz')
  (tmp_path / 'bad.npy').write_bytes(b'nothing')
  with pytest.raises(ValueError, match='cannot read'):
    clip_sets.open_clips(tmp_path / 'bad.npy')


def test_clips_of_different_sizes_are_refused(tmp_path):
  np.save(tmp_path / 'a.npy', _floats()[0])
  np.save(tmp_path / 'b.npy', _floats(h=7)[0])
  folder = clip_sets.open_clips(tmp_path)
  folder.read([0])
  with pytest.raises(ValueError, match=r'b\.npy \(4, 7, 5, 3\) and .*a\.npy .* same size'):
    folder.read([1])


def test_trials_have_samples_of_their_own_and_real_clips_without_repetition():
  protocol = protocols.Protocol('small', 4, 3, 'this test')
  drawn = protocols.draw(protocol, 12, 6, seed=5)
  assert sorted(drawn.samples.reshape(-1)) == list(range(12))
  assert all(len(set(trial)) == 4 and max(trial) < 6 for trial in drawn.reference.tolist())
  again, other = (protocols.draw(protocol, 12, 6, seed=seed) for seed in (5, 6))
  np.testing.assert_array_equal(drawn.reference, again.reference)
  assert (drawn.reference != other.reference).any()


def test_samples_looked_at_alone_need_no_more_real_clips_than_there_are():
  protocol = protocols.Protocol('small', 7, 2, 'this test')
  drawn = protocols.draw(protocol, 14, 3, compared=False)
  for trial in drawn.reference.tolist():
    assert sorted(map(trial.count, range(3))) == [2, 2, 3]  # in turn
  for sizes in ((13, 3), (14, 0)):
    with pytest.raises(ValueError, match='needs 14 samples'):
      protocols.draw(protocol, *sizes, compared=False)


def test_protocols_refuse_too_few_clips():
  published = protocols.PROTOCOLS['videogpt']
  assert (published.n_clips, published.n_trials) == (256, 10)
  protocols.draw(published, 2560, 256)
  for sizes in ((2559, 256), (2560, 255)):
    with pytest.raises(ValueError, match=r'needs 2560 samples \(10 x 256\) and 256 real clips'):
      protocols.draw(published, *sizes)
  with pytest.raises(ValueError, match='at least 2 clips in each set'):
    protocols.draw(protocols.PROTOCOLS['all'], 5, 1)
