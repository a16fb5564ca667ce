"""Scores of worlds, on a game whose rules are known, and on a model of ours."""

import types

import numpy as np
import pytest
from etils import epath
from PIL import Image

from tests.test_world import videogpt
from videogpt_jax import UserError, media
from videogpt_jax.evaluation import action_reader
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.image_quality import ROUNDING_ERROR
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.stages import score_worlds
from videogpt_jax.stages.score_worlds import Rollouts
from videogpt_jax.stages.summary import meaning

MOVES = np.array([0, -2, 2])  # pixels, of the actions: stay, left, right
SIDE = 16
EXACT = -10 * np.log10(ROUNDING_ERROR)


def frame(places):
  """A bright bar at each of these places on a texture: uint8 [... 16 16 3]."""
  x = np.arange(SIDE)
  texture = (np.arange(SIDE)[:, None] * 7 + x * 3) % 60
  bars = 190 * (np.abs(x - np.asarray(places)[..., None]) < 2)[..., None, :]
  return np.repeat((texture + bars).astype(np.uint8)[..., None], 3, axis=-1)


def episode(rng, n):
  choices, places = rng.integers(3, size=n), [8]
  for choice in choices[:-1]:
    places.append(np.clip(places[-1] + MOVES[choice], 2, 13))
  return frame(places), np.eye(3, dtype=np.float32)[choices]


class RightWorld:
  """Knows the rules: two frames at a step."""

  frames_of_a_step = 2

  def __init__(self, frames, seed, *, n, actions, class_label, settings):
    del seed, n, actions, class_label, settings
    self.given = np.asarray(frames) + 0.5
    self._places = np.asarray(self.given[:, -1, 0, :, 0] > 0.7).argmax(axis=1) + 1

  def step(self, actions):
    frames = []
    for action in np.moveaxis(actions, 1, 0):
      self._places = np.clip(self._places + MOVES[action.argmax(-1)], 2, 13)
      frames.append(frame(self._places) / np.float32(255))
    return np.stack(frames, axis=1)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
  folder, rng = tmp_path_factory.mktemp('game'), np.random.default_rng(0)
  for i in range(40):
    of = folder / ('calm', 'wild')[i % 2]
    of.mkdir(exist_ok=True)
    video, actions = episode(rng, 24)
    np.savez(of / f'{i}.npz', video=video, actions=actions)
  return DatasetConfig('folder', str(folder), resolution=SIDE, sequence_length=4, test_fraction=0.5)


def test_a_world_that_knows_the_rules_is_exact_and_its_baselines_are_not(
  dataset, monkeypatch, tmp_path
):
  monkeypatch.setattr(action_reader, '_STEPS', 150)
  monkeypatch.setattr(action_reader, '_SIDE', SIDE)
  monkeypatch.setattr(score_worlds, 'N_TIMED', 2)
  spec = types.SimpleNamespace(sequence_length=4)
  paler = types.SimpleNamespace(
    spec=spec, encode=lambda video: video, decode=lambda video: 0.8 * video
  )
  model = types.SimpleNamespace(
    vqvae=paler,
    config=types.SimpleNamespace(action_dim=3, n_classes=0),
    play=RightWorld,
  )
  rollouts = Rollouts(n=24, horizon=9, batch_size=7)
  picture = epath.Path(tmp_path / 'rollouts.gif')
  columns = FeatureNetwork('i3d', lambda video: video.mean(axis=(1, 2, 4)), min_frames=4)
  scores = score_worlds.score(
    model, dataset, SamplingSettings(), rollouts, columns, picture, fps=8.0
  )
  assert [name for name in scores if not meaning(name)] == []
  with Image.open(picture) as shown:  # eight side by side
    assert shown.n_frames == rollouts.horizon
    width, height = shown.size
    shown = np.asarray(shown.convert('RGB'), int)
  # Each lies beneath its recording, which this model repeats; a GIF has few colours.
  side = (height - media.GAP) // 2
  assert width == 8 * (side + media.GAP)
  assert np.abs(shown[:side] - shown[side : 2 * side]).mean() < 4
  for horizon in (1, 2, 4, 8):
    assert scores[f'psnr_at_{horizon}'].value == pytest.approx(EXACT, abs=1e-3)
    assert scores[f'ssim_at_{horizon}'].value == pytest.approx(1)
  for name in ('copied', 'shuffled', 'copied_wild', 'shuffled_calm'):
    low, high = scores[f'psnr_at_8_{name}'].interval
    assert low <= scores[f'psnr_at_8_{name}'].value <= high < EXACT - 5
    gain = EXACT - scores[f'psnr_at_8_{name}'].value
    assert scores[f'psnr_gain_at_8_{name}'].value == pytest.approx(gain, abs=1e-3)
  assert 'psnr_at_16' not in scores
  low, high = scores['rollout_fvd'].interval
  assert scores['rollout_fvd'].value == pytest.approx(0, abs=1e-6) and high < 1e-6 >= low
  assert scores['rollout_r_fvd'].interval[0] > 10  # columns that are a fifth paler
  assert scores['action_accuracy_real'].value > 0.6  # at the walls nothing can be read
  assert scores['action_fidelity'].value == pytest.approx(1, abs=1e-6)
  assert scores['frames_per_second'].value > 0


@pytest.mark.parametrize('horizon, min_frames', [(7, 1), (8, 9)])
def test_distances_need_frames_enough(horizon, min_frames, tmp_path):
  scores = score_worlds.score(
    videogpt(),
    noise(tmp_path),
    SamplingSettings(),
    Rollouts(2, horizon, 2),
    FeatureNetwork('i3d', lambda video: video.mean(axis=(1, 2, 3)), min_frames=min_frames),
  )
  assert 'psnr_at_4' in scores and not [name for name in scores if 'fvd' in name]


def noise(folder):
  """A data set of random pixels under actions that are no choices."""
  rng = np.random.default_rng(0)
  for i in range(4):
    video = rng.integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(folder / f'{i}.npz', video=video, actions=rng.normal(size=(20, 3)))
  return DatasetConfig('folder', str(folder), resolution=8, sequence_length=8, test_fraction=0.5)


def test_a_model_of_ours_is_played_on(tmp_path):
  scores = score_worlds.score(videogpt(), noise(tmp_path), SamplingSettings(), Rollouts(3, 5, 2))
  names = {name for name in scores if '_at_4' in name}
  kinds = ('psnr_at_4', 'ssim_at_4', 'psnr_gain_at_4')
  assert names == {f'{kind}{of}' for kind in kinds for of in ('', '_copied', '_shuffled')} - {
    'psnr_gain_at_4'
  }
  assert all(0 < scores[name].value < 40 for name in names if name.startswith('psnr_at'))
  assert 'action_fidelity' not in scores  # these actions are no choices


def test_what_cannot_be_played_is_refused():
  with pytest.raises(UserError, match='need a prior'):
    score_worlds.check(videogpt().vqvae)
  with pytest.raises(UserError, match=r"prior\.attn_type is 'full'"):
    score_worlds.check(videogpt(attn_type='full', attn_window=0))
