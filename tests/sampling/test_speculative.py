"""Speculative decoding draws the codes of sequential decoding, in fewer passes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_prior import make
from tests.sampling.test_loop import lookup
from tests.test_generation import videogpt
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.sampling import sequential, speculative
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.training.sharding import MeshConfig, make_mesh

L = 24
NEAR = 1e-4  # of perturbed logits, or of a code and the edge of top-k or top-p


def slow(*values):
  return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def short(monkeypatch):
  """Windows, chunks, prefill and segments that a clip of 24 codes has several of."""
  for module, name, value in [
    (speculative, 'WINDOW', 4),
    (speculative, 'CHUNK', 9),
    (sequential, 'CHUNK', 4),
    (sequential, 'PREFILL_CHUNK', 8),
    (sequential, 'SEGMENTS', 2),
  ]:
    monkeypatch.setattr(module, name, value)


def both(prior, condition, controls, n=2, lookup=lookup, **kwargs):
  """What the two strategies draw."""
  keys = jax.random.split(jax.random.key(0), n)
  return [
    jax.jit(lambda keys, m=m: m.decode(prior, lookup, condition, keys, controls, **kwargs))(keys)
    for m in (sequential, speculative)
  ]


def assert_same(one, other):
  np.testing.assert_array_equal(one.codes, other.codes)
  np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-4)
  if one.logits is not None:
    scale = np.abs(one.logits).max()
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-4 * scale)


@pytest.mark.parametrize(
  ('kind', 'controls', 'n_given'),
  [
    ('full', Controls(temperature=0.9, top_k=5, top_p=0.9), 10),
    ('modern sparse', Controls(guidance=0.5, top_k=4), 9),
    slow('actions', Controls(), 0),
    slow('sparse', Controls(temperature=None), 0),
    slow('frames', Controls(guidance=2.5), 3),
  ],
)
def test_codes_likelihoods_and_logits_are_those_of_sequential_decoding(kind, controls, n_given):
  prior, conditions = make(kind)
  condition = jax.jit(prior.condition)(conditions)
  given = jax.random.randint(jax.random.key(6), (2, n_given), 0, 7)
  one, other = both(prior, condition, controls, given=given, with_logits=True)
  assert_same(one, other)
  assert (other.passes <= one.passes).all()


@pytest.mark.slow
def test_several_codebooks():
  spec = CodeSpec((2, 3, 2, 2), n_codes=7, embedding_dim=5, sequence_length=6, resolution=8)
  prior, _ = make('full', spec)
  books = jax.random.normal(jax.random.key(5), (2, 7, 5))
  look_up = lambda codes, group: books[group, codes]
  assert_same(*both(prior, prior.condition({}), Controls(), lookup=look_up))


def test_right_guesses_are_all_kept():
  prior, _ = make('full')
  prior.fc_out.kernel[...] *= 0  # no code depends on another: draws of wrong guesses are right
  one, other = both(prior, prior.condition({}), Controls(), n=1)
  assert_same(one, other)
  # A pass whose first guess is wrong gains a code and draws three more; the next pass keeps these
  # and draws one: five codes in two passes, or more where a first guess is right by chance.
  assert 6 <= other.passes[0] <= 10 and one.passes[0] == L


def margins(logits, controls, keys):
  """How near each draw is to another: float [L]; logits [L K], keys [L]."""
  scaled = logits / controls.temperature
  noise = jax.vmap(lambda key: jax.random.gumbel(key, scaled.shape[1:]))(keys)
  best = jnp.sort(controls.filter(scaled) + noise, axis=-1)
  near = best[:, -1] - best[:, -2]
  descending = jnp.sort(scaled, axis=-1, descending=True)
  if controls.top_k is not None:
    k = controls.top_k
    near = jnp.minimum(near, descending[:, k - 1] - descending[:, k])
    descending = jnp.where(jnp.arange(descending.shape[1]) < k, descending, -jnp.inf)
  if controls.top_p is not None:
    p = jax.nn.softmax(descending, axis=-1)
    near = jnp.minimum(near, jnp.abs(jnp.cumsum(p, axis=-1) - controls.top_p).min(axis=-1))
  return near


def apart(one, other, controls):
  """The number of clips that part, and the margin of each where it does."""
  n = len(one.codes)
  a, b = (np.asarray(x.codes).reshape(n, L) for x in (one, other))
  keys, found = jax.random.split(jax.random.key(0), n), []
  for row in np.flatnonzero((a != b).any(axis=1)):
    at = int(np.argmax(a[row] != b[row]))
    key = jax.random.fold_in(keys[row], at)
    logits = one.logits.reshape(n, L, -1)[row, at]
    found.append(float(margins(logits[None], controls, key[None])[0]))
  return len(found), found


@pytest.mark.parametrize('controls', [slow(Controls()), Controls(0.8, top_k=5, top_p=0.9)])
def test_videos_part_at_near_ties_alone_and_seldom(controls):
  prior, _ = make('full')
  n = 8400  # of 24 codes each: twice 100,000
  one, other = both(prior, prior.condition({}), controls, n=n, with_logits=True)
  parted, near = apart(one, other, controls)
  assert parted < n * L / 100_000
  assert all(margin < NEAR for margin in near), near


def test_the_check_of_near_ties_finds_other_differences():
  prior, _ = make('full')
  one, _ = both(prior, prior.condition({}), Controls(), n=50, with_logits=True)
  changed = dataclasses.replace(Controls(), temperature=0.5)
  _, other = both(prior, prior.condition({}), changed, n=50)
  parted, near = apart(one, other, Controls())
  assert parted > 25 and max(near) > 100 * NEAR


@pytest.mark.slow
def test_best_of_longer_videos_and_several_devices():
  gpt = videogpt(n_classes=3, cond_dropout=0.1)
  settings = {'class_label': [0, 2, 1], 'num_frames': 8, 'best_of': 2, 'guidance': 1.5}
  wanted = gpt.generate(gpt.request(3, seed=5, **settings, strategy='sequential'))
  request = gpt.request(3, seed=5, **settings, strategy='speculative')
  many = gpt.on_mesh(make_mesh(MeshConfig(data=2, tensor=4)))
  for made in (gpt.generate(request), many.generate(request)):
    np.testing.assert_array_equal(made.codes, wanted.codes)
    np.testing.assert_allclose(made.log_likelihood, wanted.log_likelihood, rtol=1e-4)
    assert (made.passes < wanted.passes).all()
