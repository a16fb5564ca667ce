"""Norms of the VQ-VAE: running averages, and what each position's result depends on."""

import jax
import numpy as np

from videogpt_jax.models.video_norms import BatchNorm, ChannelNorm, GroupNorm, RMSNorm


def test_batch_norm_averages_move_by_a_tenth_towards_the_unbiased_statistics():
  norm, x = BatchNorm(3), 2 + 3 * jax.random.normal(jax.random.key(0), (5, 2, 2, 2, 3))
  y = norm(x, train=True)
  flat = np.asarray(x, np.float64).reshape(-1, 3)
  np.testing.assert_allclose(norm.mean[...], 0.1 * flat.mean(0), rtol=1e-5)
  np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)
  np.testing.assert_allclose(np.asarray(y).reshape(-1, 3).std(0), 1, rtol=1e-3)
  before = norm.mean[...]
  norm(x, train=False)
  np.testing.assert_array_equal(norm.mean[...], before)


def test_channel_norm_normalises_each_position_on_its_own():
  x = 2 + 3 * jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 7))
  y = ChannelNorm(7)(x, train=True)
  np.testing.assert_allclose(np.mean(y, -1), 0, atol=1e-5)
  np.testing.assert_allclose(np.std(y, -1), 1, rtol=1e-3)
  changed = ChannelNorm(7)(x.at[0, 2].add(1), train=True)
  np.testing.assert_array_equal(changed[0, :2], y[0, :2])


def test_rms_norm_divides_each_position_by_its_root_mean_square():
  x = 2 + 3 * jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 7))
  y = RMSNorm(7)(x)
  np.testing.assert_allclose(np.mean(np.square(y), -1), 1, rtol=1e-4)
  np.testing.assert_allclose(y[0, 0, 0, 0] / x[0, 0, 0, 0], y[0, 0, 0, 0, 0] / x[0, 0, 0, 0, 0])


def test_group_norm_normalises_groups_of_each_frame_on_its_own():
  x = 2 + 3 * jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 12))  # 4 groups of 3
  y = np.asarray(GroupNorm(12)(x)).reshape(2, 3, 20, 4, 3)
  np.testing.assert_allclose(y.mean((2, 4)), 0, atol=1e-5)
  np.testing.assert_allclose(y.std((2, 4)), 1, rtol=1e-3)
  changed = GroupNorm(12)(x.at[0, 2].add(jax.random.normal(jax.random.key(1), (4, 5, 12))))
  np.testing.assert_array_equal(changed[0, :2].reshape(2, 20, 4, 3), y[0, :2])
  assert np.abs(changed[0, 2].reshape(20, 4, 3) - y[0, 2]).max() > 0.1
