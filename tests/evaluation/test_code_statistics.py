import math

import numpy as np
import pytest

from videogpt_jax.evaluation import code_statistics
from videogpt_jax.stages.train_vqvae import code_counts


def test_counts_add_up_over_batches_without_the_padding():
  codes = np.array([[0, 3, 3], [1, 3, 0], [2, 2, 2]])
  np.testing.assert_array_equal(code_statistics.count_codes(codes, 5), [2, 1, 3, 3, 0])
  masked = code_statistics.count_codes(codes, 5, mask=np.array([1.0, 1.0, 0.0]))
  np.testing.assert_array_equal(masked, [2, 1, 0, 3, 0])
  assert masked.dtype == np.int64


def test_even_use_of_some_codes():
  counts = np.array([7, 0, 7, 7, 7, 0, 0, 0])
  assert code_statistics.codebook_usage(counts) == 0.5
  assert code_statistics.unigram_bits_per_code(counts) == pytest.approx(2)
  assert code_statistics.codebook_perplexity(counts) == pytest.approx(4)


def test_one_code_carries_nothing():
  counts = np.array([0, 12])
  assert code_statistics.unigram_bits_per_code(counts) == 0
  assert code_statistics.codebook_perplexity(counts) == 1


def test_codebooks_are_counted_apart():
  counts = np.array([[0, 12], [12, 0]])  # each uses one code, though not the same
  assert code_statistics.unigram_bits_per_code(counts) == 0
  assert code_statistics.codebook_perplexity(counts) == 1
  assert code_statistics.codebook_usage(counts) == 0.5
  codes = np.stack([np.ones((2, 2, 1, 3), int), np.zeros((2, 2, 1, 3), int)], axis=-1)
  np.testing.assert_array_equal(code_counts(codes, 2), [[[0, 6], [6, 0]]] * 2)
  np.testing.assert_array_equal(code_counts(codes[..., 0], 2), [[[0, 6]]] * 2)


def test_codebooks_give_the_mean_of_their_perplexities():
  counts = np.array([[4, 4, 4, 4], [8, 0, 0, 0]])
  assert code_statistics.codebook_perplexity(counts) == pytest.approx((4 + 1) / 2)
  assert code_statistics.unigram_bits_per_code(counts) == pytest.approx((2 + 0) / 2)


def test_entropy_of_uneven_use():
  # 1/2, 1/4, 1/8, 1/8: 1.75 bits, as in any textbook.
  assert code_statistics.unigram_bits_per_code(np.array([4, 2, 1, 1])) == pytest.approx(1.75)


def test_units():
  assert code_statistics.bits_per_code(math.log(2) * 3) == pytest.approx(3)
  # A 4x8x8 grid of 3-bit codes for 8x32x32 clips in colour.
  bits = code_statistics.bits_per_pixel_dim(math.log(2) * 3, (4, 8, 8), (8, 32, 32, 3))
  assert bits == pytest.approx(3 * 256 / 24576)


def test_bad_input_is_refused_in_one_line():
  with pytest.raises(ValueError, match=r'must lie in \[0, n_codes=4\)'):
    code_statistics.count_codes(np.array([0, 4]), 4)
  with pytest.raises(ValueError, match='at least one code'):
    code_statistics.unigram_bits_per_code(np.zeros(4))
