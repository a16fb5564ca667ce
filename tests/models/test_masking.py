"""Which codes are masked: how many, and that all sets of so many are equally likely."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from videogpt_jax.models import masking


def test_training_masks_follow_the_cosine_schedule():
  counts = np.asarray(masking.training_counts(jax.random.key(0), 20_000, 100))
  assert counts.min() >= 1 and counts.max() == 100
  assert abs(counts.mean() / 100 - 2 / math.pi) < 0.01  # the mean of cos(pi u / 2)
  assert abs(np.mean(counts <= 50) - 1 / 3) < 0.02  # cos(pi u / 2) < 1/2 from u = 2/3 on


def test_scoring_masks_are_evenly_spaced_and_all_sizes_where_there_are_enough():
  np.testing.assert_array_equal(masking.scoring_counts(6, 6), [1, 2, 3, 4, 5, 6])
  np.testing.assert_array_equal(masking.scoring_counts(2, 8), [2, 6])


def test_a_mask_has_its_count_of_codes_and_favours_none():
  counts = jnp.tile(jnp.array([0, 1, 3, 5]), 4000)
  masked = np.asarray(masking.choose(jax.random.key(1), counts, 5))
  np.testing.assert_array_equal(masked.sum(axis=1), counts)
  shares = masked[2::4].mean(axis=0)
  np.testing.assert_allclose(shares, 3 / 5, atol=0.03)
