"""Linear layers, position tables and dropout."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from videogpt_jax.models import layers


def random(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def test_position_embedding_shares_out_channels_that_axes_do_not_divide():
  positions = layers.PositionEmbedding((2, 3, 5), 16, rngs=nnx.Rngs(0))
  assert [table.shape for table in positions.tables] == [(2, 6), (3, 5), (5, 5)]
  assert positions().shape == (2, 3, 5, 16)


def test_dropout_keeps_the_mean_and_drops_the_share():
  y = layers.dropout(jnp.ones((4, 200, 30)), 0.3, jax.random.key(0))
  for axes in ((0, 1), (1, 2)):
    np.testing.assert_allclose((y == 0).mean(axes), 0.3, atol=0.06)
  np.testing.assert_allclose((y == 0).mean((0, 2)), 0.3, atol=0.18)  # of 120 entries
  np.testing.assert_allclose(y[y != 0], 1 / 0.7, rtol=1e-6)
  np.testing.assert_array_equal(layers.dropout(y, 0.3, None), y)


def test_dropout_of_clips_positions_and_channels_is_independent():
  y = np.asarray(layers.dropout(jnp.ones((4, 200, 30)), 0.3, jax.random.key(0)) == 0)
  for axis in range(3):
    rows = np.moveaxis(y, axis, 0).reshape(y.shape[axis], -1)
    correlated = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlated).max() < 5 / np.sqrt(rows.shape[1]), axis


def test_a_linear_layer_transposes_nothing_in_its_gradient():
  """On CPU the transposed copy of its input would take as long as the product."""
  linear = layers.Linear(24, 40, stddev=0.1, rngs=nnx.Rngs(0))
  graphdef, params = nnx.split(linear)
  gradient = jax.grad(lambda params, x: jnp.square(nnx.merge(graphdef, params)(x)).sum(), (0, 1))
  text = jax.jit(gradient).lower(params, random(0, 2, 64, 24)).compile().as_text()
  assert ' dot(' in text
  assert ' transpose(' not in text
