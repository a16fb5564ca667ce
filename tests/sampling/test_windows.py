"""Clips that make up a longer video: they cover it, and fade into one another."""

import numpy as np
import pytest

from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import windows


def spec(t, clip=16):
  return CodeSpec((t, 2, 2), 7, 5, clip, 8)


def prior(n_cond_frames=0, history=0):
  return PriorConfig(n_cond_frames=n_cond_frames, history=history)


@pytest.mark.parametrize(
  ('t', 'n_cond_frames', 'shared', 'latents'),
  [(4, 0, 8, 2), (4, 1, 8, 2), (4, 9, 12, 3), (4, 14, 14, 0), (2, 0, 8, 1), (1, 3, 3, 0)],
)
def test_clips_cover_every_frame_and_share_what_they_must(t, n_cond_frames, shared, latents):
  plan = windows.plan(spec(t), prior(n_cond_frames), 128)
  assert (plan.shared, plan.shared_latents) == (shared, latents)
  assert plan.shared >= n_cond_frames
  assert plan.starts[0] == 0
  assert set(np.diff(plan.starts)) == {16 - shared}
  assert plan.starts[-1] < 128 <= plan.starts[-1] + 16


def test_what_fits_into_a_clip_is_one_and_shares_nothing():
  for num_frames in (5, 16):
    assert windows.plan(spec(1), prior(), num_frames) == windows.Windows(16, 0, 0, (0,))
  goes_on = windows.plan(spec(4), prior(), 5, continues=True)
  assert goes_on.starts == (0,) and goes_on.shared == 8


@pytest.mark.parametrize(
  ('t', 'n_cond_frames', 'num_frames', 'message'),
  [
    (1, 0, 17, r'cannot go on beyond the 16 frames.*\(1, 2, 2\) has a single latent frame'),
    (4, 16, 17, 'all 16 frames of its clips are conditioning frames'),
    (4, 0, 0, r'num_frames \(0\) must be at least 1'),
  ],
)
def test_a_model_that_cannot_go_on_says_why(t, n_cond_frames, num_frames, message):
  with pytest.raises(ValueError, match=message):
    windows.plan(spec(t), prior(n_cond_frames), num_frames)


@pytest.mark.parametrize('alone', [False, True])
def test_clips_of_a_stream_begin_at_latent_frames(alone):
  grid = TimeGrid(4, alone)
  codes = CodeSpec((5, 2, 2), 7, 5, grid.frames(5), 8, grid)
  plan = windows.plan(codes, prior(history=3), 100)
  assert plan.streams and plan.shared_latents == 2
  assert set(np.diff(plan.starts)) == {3 * 4}  # three new latent frames
  assert grid.frames(5 + 3 * len(plan.starts[1:])) >= 100
  # Conditioning frames that need all latent frames leave no stream.
  assert not windows.plan(codes, prior(codes.sequence_length - 1, history=3), 100).streams


@pytest.mark.parametrize(
  ('shared', 'weights'),
  [
    (0, []),
    (1, [0.5]),
    (2, [0, 1]),
    (3, [0, 0.5, 1]),
    (8, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]),
  ],
)
def test_shared_frames_fade_in_their_middle_and_the_others_stay(shared, weights):
  video, clip = (np.full((1, T, 2, 2, 3), x, np.float32) for T, x in ((10, 0), (9, 1)))
  joined = windows.join(video, clip, shared)[0, :, 0, 0, 0]
  np.testing.assert_allclose(joined, [*[0] * (10 - shared), *weights, *[1] * (9 - shared)])
