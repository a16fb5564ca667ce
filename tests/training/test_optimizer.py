"""Adam's state in half the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from videogpt_jax.training.optimizer import (
  OptimizerConfig,
  apply_updates,
  make_optimizer,
  round_by_chance,
)


def moments(state):
  return [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]


def test_bfloat16_moments_take_half_the_memory():
  params = {'a': jnp.ones((5, 7)), 'b': jnp.ones(3)}
  sizes = {
    dtype: sum(
      m.nbytes for m in moments(make_optimizer(OptimizerConfig(state_dtype=dtype), 9).init(params))
    )
    for dtype in ('float32', 'bfloat16')
  }
  assert sizes == {'float32': 2 * 38 * 4, 'bfloat16': 2 * 38 * 2}


def test_rounding_by_chance_is_right_on_average_and_never_off_by_more_than_a_step():
  x = jnp.full(20_000, 1 + 2**-9)  # a quarter of the way from 1 to the next bfloat16 number
  y = round_by_chance(x, jax.random.key(0)).astype(jnp.float32)
  assert set(np.unique(y)) == {1.0, 1 + 2**-7}
  assert np.mean(y) == pytest.approx(1 + 2**-9, abs=2e-4)
  exact = jnp.array([0.0, -1.5, 2.0**-100])
  np.testing.assert_array_equal(round_by_chance(exact, jax.random.key(1)), exact)


def test_the_second_moment_follows_gradients_that_shrink():
  """To the nearest it could not: at b2 = 0.999 a step is less than half a bfloat16 one."""
  optimizer = make_optimizer(OptimizerConfig(state_dtype='bfloat16', clip_norm=0), 1000)
  params = {'w': jnp.ones(256)}

  def step(state, gradient):
    return optimizer.update({'w': jnp.full(256, gradient)}, state, params)[1], None

  state, _ = jax.lax.scan(step, optimizer.init(params), jnp.where(jnp.arange(900) < 200, 1.0, 0.1))
  _, nu = moments(state)
  expected = (1 - 0.999**200) * 0.999**700 + 0.01 * (1 - 0.999**700)
  assert float(nu.astype(jnp.float32).mean()) == pytest.approx(expected, rel=0.02)


def test_it_descends_as_far_with_bfloat16_moments():
  target = jax.random.normal(jax.random.key(0), (40,))
  loss = lambda params: jnp.sum((params['w'] - target) ** 2)

  def train(dtype):
    optimizer = make_optimizer(OptimizerConfig(learning_rate=0.05, state_dtype=dtype), 200)

    def step(carry, _):
      params, state = carry
      updates, state = optimizer.update(jax.grad(loss)(params), state, params)
      return (apply_updates(params, updates), state), None

    params = {'w': jnp.zeros(40)}
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=200)
    return float(loss(params))

  start = float(jnp.sum(target**2))
  assert train('float32') < 1e-3 * start
  assert train('bfloat16') < 1e-3 * start
