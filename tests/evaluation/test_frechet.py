import pathlib

import numpy as np
import pytest

from videogpt_jax.evaluation import frechet

_GOLDENS = pathlib.Path(__file__).parent / 'goldens' / 'fvd.npz'


def _statistics(features):
  return frechet.gaussian(features)


def _features(n, d, seed=0, scale=1.0, shift=0.0):
  rng = np.random.default_rng(seed)
  return shift + scale * rng.standard_normal((n, d)) @ rng.standard_normal((d, d))


@pytest.mark.parametrize('size', ['64x16', '256x32'])
def test_distances_equal_the_published_implementation(size):
  goldens = np.load(_GOLDENS)
  distance = frechet.frechet_distance(
    _statistics(goldens[f'x1/{size}']), _statistics(goldens[f'x2/{size}'])
  )
  assert distance == pytest.approx(float(goldens[f'fd/{size}']), rel=1e-6)


@pytest.mark.parametrize('n', [5, 50])
def test_mean_and_root_are_those_of_the_covariance(n):
  x = _features(n, 6, shift=1e4)  # a large mean is where raw second moments cancel
  statistics = _statistics(x)
  np.testing.assert_allclose(statistics.mean, x.mean(axis=0), rtol=1e-12)
  covariance = statistics.root.T @ statistics.root
  np.testing.assert_allclose(covariance, np.cov(x, rowvar=False), rtol=1e-9)


def test_weights_count_a_sample_several_times():
  x, weights = _features(9, 4), np.array([0, 2, 1, 0, 3, 1, 1, 0, 1])
  weighted, repeated = frechet.gaussian(x, weights), frechet.gaussian(np.repeat(x, weights, axis=0))
  np.testing.assert_allclose(weighted.mean, repeated.mean, rtol=1e-12)
  assert frechet.frechet_distance(weighted, repeated) < 1e-9
  with pytest.raises(ValueError, match='at least 2 samples'):
    frechet.gaussian(x[:1])


@pytest.mark.parametrize(('n', 'd'), [(200, 12), (9, 40), (2, 30)])
def test_identical_sets_are_at_distance_zero(n, d):
  x = _features(n, d)
  forward, backward = _statistics(x), _statistics(x[::-1])
  trace = np.sum(forward.root**2)
  assert frechet.frechet_distance(forward, backward) < 1e-6 * trace


def test_fewer_samples_than_dimensions_agree_with_the_subspace_they_span():
  # The same points, isometrically embedded in more dimensions, have the same distance.
  a, b = _features(8, 5, seed=1), _features(7, 5, seed=2, shift=0.3)
  embedding, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((60, 5)))
  small = frechet.frechet_distance(_statistics(a), _statistics(b))
  large = frechet.frechet_distance(_statistics(a @ embedding.T), _statistics(b @ embedding.T))
  assert large == pytest.approx(small, rel=1e-9)


def test_gaussians_along_axes_have_a_known_distance():
  a, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[5.0, 0.0], [1.0, 0.0]])
  # Means differ by 3, standard deviations by sqrt(2): 9 + 2.
  distance = frechet.frechet_distance(_statistics(a), _statistics(b))
  assert distance == pytest.approx(11, rel=1e-12)


def test_bad_input_is_refused_in_one_line():
  with pytest.raises(ValueError, match='at least 2 samples'):
    _statistics(_features(1, 3))
  with pytest.raises(ValueError, match=r'same dimensions \(3 and 4\)'):
    frechet.frechet_distance(_statistics(_features(5, 3)), _statistics(_features(5, 4)))
