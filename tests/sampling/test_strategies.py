"""Strategies: the settings choose how codes are drawn, and rows may be at their own positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.test_prior import make
from tests.sampling.test_loop import CODEBOOK, lookup
from tests.test_generation import videogpt
from videogpt_jax.errors import UserError
from videogpt_jax.sampling import strategies
from videogpt_jax.sampling.forward import Decoded, Forward


def uncached(prior, lookup, condition, keys, controls, given=None, with_logits=False):
  """A made-up strategy: the whole clip goes through the prior for every code; no KV cache."""
  grid, n = prior.codes.latent_shape, len(keys)
  codes = jnp.zeros((n, int(np.prod(grid))), jnp.int32)
  log_likelihood = jnp.zeros(n)
  del given, with_logits
  for i in range(codes.shape[1]):
    vectors = lookup(codes, jnp.zeros(codes.shape[1], jnp.int32)).reshape(n, *grid, -1)
    logits = prior(vectors, condition).reshape(n, codes.shape[1], -1)[:, i]
    drawn = controls.draw(logits, jax.vmap(jax.random.fold_in, (0, None))(keys, i))
    codes = codes.at[:, i].set(drawn)
    log_p = jax.nn.log_softmax(logits)
    log_likelihood += jnp.take_along_axis(log_p, drawn[:, None], axis=-1)[:, 0]
  return Decoded(codes.reshape(n, *grid), log_likelihood, None, jnp.full(n, codes.shape[1]))


def test_a_made_up_strategy_is_chosen_by_the_settings_and_draws_the_same_codes(monkeypatch):
  gpt = videogpt(n_classes=3)
  wanted = gpt.generate(gpt.request(2, seed=3, class_label=[0, 2]))
  monkeypatch.setitem(strategies.STRATEGIES, 'uncached', uncached)
  made = gpt.generate(gpt.request(2, seed=3, class_label=[0, 2], strategy='uncached'))
  np.testing.assert_array_equal(made.codes, wanted.codes)
  np.testing.assert_allclose(made.log_likelihood, wanted.log_likelihood, rtol=1e-4)


def test_an_unknown_strategy_is_refused():
  with pytest.raises(UserError, match="strategy 'guess' is not one of auto, sequential"):
    videogpt().sample(1, strategy='guess')


@pytest.mark.parametrize('kind', ['full', 'actions', 'rotary'])
def test_rows_may_be_at_positions_of_their_own(kind):
  prior, conditions = make(kind)
  condition = prior.condition(conditions)
  codes = jax.random.randint(jax.random.key(6), (2, 24), 0, 7)
  expected = prior(CODEBOOK[0][codes].reshape(2, 2, 3, 4, 5), condition).reshape(2, 24, 7)
  before = jnp.concatenate([jnp.zeros((2, 1), jnp.int32), codes[:, :-1]], axis=1)
  forward = Forward(prior, lookup, condition)
  part = forward.begin(forward.empty_cache(2, 24), jnp.int32(0), 24)
  # All of both rows first; then row 0 is at 5 to 7, and row 1 at 17 to 19.
  _, local = forward(before, jnp.arange(24), part)
  positions = jnp.array([[5, 6, 7], [17, 18, 19]])
  own = jnp.take_along_axis(before, positions, axis=1)
  logits, _ = forward(own, positions, part._replace(local=local))
  wanted = jnp.take_along_axis(expected, positions[..., None], axis=1)
  np.testing.assert_allclose(logits(), wanted, atol=1e-4 * np.abs(expected).max())


def test_what_a_row_writes_at_its_own_positions_is_what_it_reads_there():
  prior, _ = make('full')
  forward = Forward(prior, lookup, prior.condition({}))
  part = forward.begin(forward.empty_cache(2, 24), jnp.int32(0), 24)
  codes = jax.random.randint(jax.random.key(6), (2, 24), 0, 7)
  _, local = forward(codes, jnp.arange(24), part)
  positions = jnp.array([[5, 6], [17, 18]])
  other = (jnp.take_along_axis(codes, positions, axis=1) + 1) % 7
  _, changed = forward(other, positions, part._replace(local=local))
  for old, new in zip(local[0], changed[0], strict=True):
    moved = np.abs(np.asarray(new - old)).max(axis=(1, 3)) > 0
    np.testing.assert_array_equal(np.argwhere(moved), [[0, 5], [0, 6], [1, 17], [1, 18]])
