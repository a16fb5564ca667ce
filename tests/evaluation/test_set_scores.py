import numpy as np
import pytest
from scipy import special
from sklearn.metrics import pairwise

from videogpt_jax.evaluation import inception_score, kernel_distance


def _score(logits):
  return inception_score.inception_score(logits)


def test_inception_score_equals_a_plain_reference():
  logits = 3 * np.random.default_rng(0).standard_normal((23, 9))
  p = special.softmax(logits, axis=1)
  divergences = np.sum(p * (np.log(p) - np.log(p.mean(axis=0))), axis=1)
  assert _score(logits) == pytest.approx(np.exp(divergences.mean()), rel=1e-5)


def test_inception_score_of_known_sets():
  certain = 200 * np.eye(7)[np.arange(21) % 7]
  assert _score(certain) == pytest.approx(7, rel=1e-5)  # each class, surely: K
  assert _score(certain[:1].repeat(4, axis=0)) == pytest.approx(1, rel=1e-5)
  with pytest.raises(ValueError, match='at least one clip'):
    _score(np.zeros((0, 3)))
  with pytest.raises(ValueError, match='logits of clip 1 must be finite'):
    _score(np.array([[0.0, 1.0], [np.inf, 0.0]]))


def test_kernel_distance_equals_scikit_learns_kernel_summed_by_hand():
  rng = np.random.default_rng(0)
  a, b = rng.standard_normal((11, 6)), 1 + rng.standard_normal((8, 6))
  kernel = lambda x, y: pairwise.polynomial_kernel(x, y, degree=3, coef0=1)
  expected = -2 * kernel(a, b).mean()
  for x in (a, b):
    k = kernel(x, x)
    expected += np.mean(k[~np.eye(len(x), dtype=bool)])
  assert kernel_distance.kernel_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_has_no_bias_between_halves_of_one_set():
  rng = np.random.default_rng(0)
  distances = [
    kernel_distance.kernel_distance(*rng.standard_normal((2, 6, 4))) for _ in range(2000)
  ]
  error = np.std(distances) / np.sqrt(len(distances))
  assert abs(np.mean(distances)) < 3 * error
  assert min(distances) < 0  # a biased estimate is never below zero


def test_kernel_distance_refuses_sets_that_do_not_fit():
  with pytest.raises(ValueError, match='at least 2 samples'):
    kernel_distance.kernel_distance(np.zeros((1, 3)), np.zeros((4, 3)))
  with pytest.raises(ValueError, match='must be'):
    kernel_distance.kernel_distance(np.zeros((4, 2)), np.zeros((4, 3)))
