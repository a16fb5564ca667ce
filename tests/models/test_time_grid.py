"""Frames and latent frames, of tokenizers with and without a first frame of its own."""

import numpy as np
import pytest

from videogpt_jax.errors import UserError
from videogpt_jax.models.time_grid import TimeGrid
from videogpt_jax.models.vqvae import VQVAEConfig


@pytest.mark.parametrize(
  ('grid', 'pairs'),
  [
    (TimeGrid(4), {4: 1, 12: 3, 16: 4}),
    (TimeGrid(1), {1: 1, 7: 7}),
    (TimeGrid(4, first_alone=True), {1: 1, 5: 2, 13: 4, 17: 5}),
  ],
)
def test_frames_and_latent_frames_are_inverse(grid, pairs):
  for n_frames, n_latent_frames in pairs.items():
    assert grid.latent_frames(n_frames) == n_latent_frames
    assert grid.frames(n_latent_frames) == n_frames
  assert grid.frames(0) == 0


@pytest.mark.parametrize(
  ('grid', 'n_frames', 'message'),
  [
    (TimeGrid(4), 13, r'13 frames do not fill latent frames of 4; use 12 or 16'),
    (TimeGrid(4), 3, r'3 frames .*; use 4'),
    (TimeGrid(4, first_alone=True), 16, r'16 .* of 4 after the first frame; use 13 or 17'),
    (TimeGrid(4, first_alone=True), 0, r'use 1'),
  ],
)
def test_frames_that_do_not_fit_are_refused_with_those_that_do(grid, n_frames, message):
  with pytest.raises(UserError, match=message):
    grid.latent_frames(n_frames)


def test_the_vqvae_divides_time_as_its_options_say():
  assert VQVAEConfig(downsample=(2, 4, 4)).time_grid == TimeGrid(2)
  causal = {'time_padding': 'causal', 'first_frame_alone': True}
  assert VQVAEConfig(downsample=(2, 4, 4), **causal).time_grid == TimeGrid(2, first_alone=True)


@pytest.mark.parametrize('grid', [TimeGrid(4), TimeGrid(3, first_alone=True)])
def test_whole_latent_frames_are_the_most_that_frames_fill(grid):
  for n_frames in range(12):
    t = grid.whole_latent_frames(n_frames)
    assert grid.frames(t) <= n_frames < grid.frames(t + 1)


@pytest.mark.parametrize('alone', [False, True])
def test_a_stretch_of_a_longer_clip_has_the_codes_frames_and_actions_of_its_place(alone):
  grid, n_latents = TimeGrid(4, alone), 3
  length = grid.frames(n_latents)
  frame = np.arange(grid.frames(8))
  latent = np.maximum(-(-frame // 4) if alone else frame // 4, 0)  # which stands for it
  batch = {
    'video': np.stack([frame, 100 + frame]),
    'actions': np.stack([frame, 100 + frame]),
    'codes': np.stack([np.arange(8), 100 + np.arange(8)]),
    'label': np.array([5, 6]),
  }
  starts = np.array([0, 4])
  cut = grid.stretch(batch, starts, length)
  np.testing.assert_array_equal(cut['label'], batch['label'])
  for row, start in enumerate(starts):
    np.testing.assert_array_equal(cut['codes'][row], 100 * row + start + np.arange(n_latents))
    frames = cut['video'][row] - 100 * row
    np.testing.assert_array_equal(np.unique(latent[frames]), start + np.arange(n_latents))
    assert len(frames) == length and (np.diff(frames) == 1).all()
    np.testing.assert_array_equal(cut['actions'][row], cut['video'][row])
