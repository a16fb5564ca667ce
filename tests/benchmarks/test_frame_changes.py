"""How seams are measured, on videos with a known answer; no model is judged here."""

import numpy as np
import pytest

from benchmarks import frame_changes
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.sampling import windows


def plan(num_frames, n_cond_frames=0):
  prior = PriorConfig(n_cond_frames=n_cond_frames)
  return windows.plan(CodeSpec((4, 2, 2), 7, 5, 16, 8), prior, num_frames)


def test_a_change_belongs_to_the_frame_after_it():
  video = np.zeros((2, 6, 4, 5, 3), np.float32)
  video[0, 2:] = 0.3
  video[1, 4, :2] = 0.5
  expected = [[0, 0, 0.3, 0, 0, 0], [0, 0, 0, 0, 0.25, 0.25]]
  np.testing.assert_allclose(frame_changes.changes(video), expected, atol=1e-6)


@pytest.mark.parametrize(
  ('n_cond_frames', 'clips', 'latents'),
  [(0, [8, 16, 24], [12, 20, 28]), (9, [4, 8, 12, 16, 20, 24, 28], [])],
)
def test_clips_begin_where_the_windows_say(n_cond_frames, clips, latents):
  found = frame_changes.places(plan(32, n_cond_frames), 32, 4)
  np.testing.assert_array_equal(found['a clip'], clips)
  np.testing.assert_array_equal(found['a latent frame'], latents)
  everywhere = np.sort(np.concatenate(list(found.values())))
  np.testing.assert_array_equal(everywhere, np.arange(clips[0], 32))


def test_a_ratio_comes_with_its_error():
  draw = np.random.default_rng(0)
  n, repeats = 40, 400
  true, ratios, errors = 1.5, [], []
  for _ in range(repeats):
    change = draw.uniform(0.5, 1.5, (n, 6))
    change[:, :2] *= true
    value, error = frame_changes.ratio(change, np.array([0, 1]), np.array([2, 3, 4, 5]))
    ratios.append(value)
    errors.append(error)
  assert abs(np.mean(ratios) - true) < 0.02
  assert abs(np.std(ratios) / np.mean(errors) - 1) < 0.15


def test_the_overlap_is_compared_frame_by_frame():
  class Model:
    """Makes of each code a frame as bright."""

    def videos(self, codes):
      return np.broadcast_to(codes[:, :, None, None, None], (*codes.shape, 2, 2, 3)) / 100

  codes = np.array([[[0, 0, 30, 40], [40, 41, 0, 0]]])
  np.testing.assert_allclose(frame_changes.overlap_psnr(Model(), codes, 2), [20, 40])


def test_windows_lie_about_the_joints():
  # Clips of 16 begin at 0, 8, 16, 24 and share 8 frames: the middles of the joints are 12 and 20.
  found = list(frame_changes.across_joints(plan(34)).values())
  assert found == [0, 4, 12]
  assert list(frame_changes.across_joints(plan(20)).values()) == [0, 4, 4]


def test_old_beginnings_are_the_ends_of_clips():
  codes = np.arange(2 * 3 * 4).reshape(2, 3, 4, 1, 1)
  old = frame_changes.with_old_beginnings(codes, 2)
  np.testing.assert_array_equal(old[0, :, :, 0, 0], [[2, 3, 6, 7], [6, 7, 10, 11]])
