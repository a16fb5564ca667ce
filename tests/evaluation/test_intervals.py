"""Intervals contain what they are for, and scores against the number of clips tend to the truth."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from videogpt_jax.evaluation import (
  intervals,
  manifold,
  networks,
  protocols,
  sample_size,
  scoring,
  set_scores,
)
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.compare import ClipSets, compare
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.features import Features
from videogpt_jax.evaluation.frechet import frechet_distance, gaussian
from videogpt_jax.evaluation.scoring import Trials

_N, _D, _TRIALS = 150, 4, 200
_SHIFT, _SCALE = 0.3, 1.3


def _sets(rng):
  """Two sets of features, whose Frechet distance is |shift|^2 + D (scale - 1)^2."""
  return rng.standard_normal((_N, _D)), _SHIFT + _SCALE * rng.standard_normal((_N, _D))


def _trials(values):
  every = np.arange(len(values))
  return Trials(Features(every, values), every[None])


def test_intervals_contain_a_known_distance():
  rng = np.random.default_rng(0)
  known = _D * (_SHIFT**2 + (_SCALE - 1) ** 2)
  draws = [[gaussian(x) for x in _sets(rng)] for _ in range(1000)]
  expected = np.mean([frechet_distance(*pair) for pair in draws])  # at these numbers of clips
  hits = np.zeros(2)
  for _ in range(_TRIALS):
    a, b = _sets(rng)
    fvd = scoring.fvd(_trials(a), _trials(b))
    low, high = fvd.interval
    shift = sample_size.curve(a, b).limit - fvd.value
    hits += low <= expected <= high, low + shift <= known <= high + shift
  assert expected > 1.05 * known  # the bias that only the limit is without
  assert (hits / _TRIALS >= 0.9).all() and (hits / _TRIALS <= 0.99).all(), hits


@pytest.mark.parametrize('n_samples', [1, 3])
def test_intervals_of_conditional_samples_contain_a_known_distance(n_samples):
  rng, D, n = np.random.default_rng(0), 3, _N
  known = D * (_SHIFT**2 + (_SCALE - 1) ** 2)

  def draw():
    real = rng.standard_normal((n, D))
    near = np.repeat(real, n_samples, axis=0)  # samples are like the clip that they belong to
    made = 0.8 * near + 0.6 * rng.standard_normal(near.shape)
    return _SHIFT + _SCALE * made, real

  expected = np.mean([frechet_distance(*map(gaussian, draw())) for _ in range(1000)])
  hits = np.zeros(2)
  for _ in range(_TRIALS):
    made, real = draw()
    fvd = scoring.fvd(_trials(made), _trials(real), paired=True)
    shift = sample_size.curve(made, real, paired=True).limit - fvd.value
    low, high = fvd.interval
    hits += low <= expected <= high, low + shift <= known <= high + shift
  assert (hits / _TRIALS >= 0.9).all() and (hits / _TRIALS <= 0.99).all(), hits
  apart = scoring.fvd(_trials(made), _trials(real)).interval
  assert np.ptp(fvd.interval) < 0.9 * np.ptp(apart)


@pytest.mark.parametrize('shift', [0, 0.3])
def test_every_distance_lies_in_its_interval(shift):
  rng, below = np.random.default_rng(0), 0
  network = FeatureNetwork('i3d', np.asarray)
  for _ in range(8):
    a, b, other, seen = rng.standard_normal((4, 60, 3))
    found = {'samples': a + shift, 'reference': b, 'others': other, 'reconstructions': seen}
    found = {name: _trials(values) for name, values in found.items()}
    scores, _ = set_scores.distances(found, network)
    below += scores['fvd_infinity'].value < 0
    intervals_of = {name: x.interval for name, x in scores.items() if x.interval}
    assert intervals_of.keys() >= {'fvd', 'fvd_infinity', 'fvd_star', 'r_fvd', 'kvd'}
    for name, (low, high) in intervals_of.items():
      assert low < scores[name].value < high, name
  assert (below > 0) == (shift == 0)


def test_intervals_of_means_contain_the_mean():
  rng, hits = np.random.default_rng(0), 0
  for _ in range(_TRIALS):
    low, high = intervals.of_mean(rng.exponential(size=100))
    hits += low <= 1 <= high
  assert 0.9 <= hits / _TRIALS <= 0.99


def test_the_floor_is_that_of_as_many_clips():
  rng = np.random.default_rng(0)
  floors = sample_size.floor(rng.standard_normal((300, 4)), 100)
  fresh = [
    frechet_distance(*(gaussian(x) for x in rng.standard_normal((2, 100, 4)))) for _ in range(200)
  ]
  assert np.mean(floors) == pytest.approx(np.mean(fresh), rel=0.3)


def test_paired_sets_are_resampled_together():
  rng = np.random.default_rng(0)
  a = rng.standard_normal((200, 4))
  b = a + 0.01 * rng.standard_normal(a.shape)
  widths = [np.ptp(scoring.fvd(_trials(a), _trials(b), paired).interval) for paired in (1, 0)]
  assert widths[0] < 0.1 * widths[1]


def test_quality_and_variety_are_told_apart():
  rng = np.random.default_rng(0)
  real = rng.standard_normal((300, 3))
  same = manifold.manifold_scores(rng.standard_normal((300, 3)), real)
  assert min(same['precision'], same['recall'], same['coverage']) > 0.8
  assert same['density'] == pytest.approx(1, abs=0.15)
  one_place = manifold.manifold_scores(real[:1] + 0.01 * rng.standard_normal((300, 3)), real)
  assert one_place['precision'] > 0.9 and one_place['recall'] < 0.1 > one_place['coverage']
  elsewhere = manifold.manifold_scores(50 + real, real)
  assert elsewhere == {'precision': 0, 'recall': 0, 'density': 0, 'coverage': 0}
  with pytest.raises(ValueError, match='more than 5 clips'):
    manifold.manifold_scores(real[:5], real)


def test_neighbours_are_found_part_by_part(monkeypatch):
  rng = np.random.default_rng(0)
  made, real = rng.standard_normal((53, 3)), 0.5 + rng.standard_normal((41, 3))
  whole = manifold.manifold_scores(made, real)
  assert min(whole.values()) > 0
  monkeypatch.setattr(manifold, '_CHUNK', 7)
  assert manifold.manifold_scores(made, real) == whole
  monkeypatch.undo()
  many = rng.standard_normal((6000, 2), dtype=np.float32)
  tracemalloc.start()
  manifold.manifold_scores(many, many[:50])
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 0.6 * 8 * len(many) ** 2  # bytes of all distances


def test_a_kernel_distance_is_of_clips_from_the_whole_set(monkeypatch):
  monkeypatch.setattr(scoring, 'N_CLIPS', 50)
  rng = np.random.default_rng(0)
  a, b = np.sort(0.3 * rng.standard_normal((2, 800, 1)), axis=1)  # neighbours are alike
  for other, low, high in ((b[::-1], -0.1, 0.1), (1 + b, 5, 10)):
    kvd = scoring.kvd(_trials(a), _trials(other))
    assert low < kvd.value < high
    assert kvd.interval[0] < kvd.value < kvd.interval[1]


def test_the_floor_takes_training_clips_where_a_trial_leaves_too_few():
  rng = np.random.default_rng(0)
  clips = lambda n: ArrayClips(rng.integers(0, 256, (n, 2, 3, 3, 3), dtype=np.uint8))
  network = networks.Networks(FeatureNetwork('i3d', lambda x: x.mean(axis=(1, 2, 3))))
  protocol = protocols.Protocol('small', 20, 1, 'this test')
  sets = ClipSets(clips(24), clips(20), others=clips(20))
  assert 'fvd_floor' in compare(sets, protocol, network)['scores']
  result = compare(dataclasses.replace(sets, others=None), protocol, network)
  assert 'fvd_floor' not in result['scores']
  assert result['missing']['fvd_floor'].startswith('20 real clips besides those of a trial')


def test_intervals_overlap_where_they_share_a_point():
  assert intervals.overlap((0, 2), (1, 3)) and intervals.overlap((0, 3), (1, 2))
  assert not intervals.overlap((0, 1), (2, 3))
