"""Adam's state in half the memory, and what weight decay applies to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.training.optimizer import (
  OptimizerConfig,
  apply_updates,
  decays,
  make_optimizer,
  stochastic_round,
)
from videogpt_jax.training.paths import name_of


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


def test_stochastic_rounding_is_right_on_average_and_never_off_by_more_than_a_step():
  x = jnp.full(20_000, 1 + 2**-9)  # a quarter of the way from 1 to the next bfloat16 number
  y = stochastic_round(x, jax.random.key(0)).astype(jnp.float32)
  assert set(np.unique(y)) == {1.0, 1 + 2**-7}
  assert np.mean(y) == pytest.approx(1 + 2**-9, abs=2e-4)
  exact = jnp.array([0.0, -1.5, 2.0**-100])
  np.testing.assert_array_equal(stochastic_round(exact, jax.random.key(1)), exact)


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


def test_weight_decay_moves_what_decays_and_leaves_the_rest():
  params = {'mlp': {'kernel': jnp.full((2, 3), 4.0), 'bias': jnp.full(3, 4.0)}}
  optimizer = make_optimizer(
    OptimizerConfig(learning_rate=0.5, schedule='constant', weight_decay=0.1), 10
  )
  moves, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
  np.testing.assert_allclose(moves['mlp']['kernel'], -0.5 * 0.1 * 4.0, rtol=1e-6)
  np.testing.assert_array_equal(moves['mlp']['bias'], 0)


def decayed(create):
  """Names of a model's parameters: those that decay, and all."""
  shapes = nnx.state(nnx.eval_shape(create), nnx.Param)
  found = {name_of(path): x for path, x in jax.tree_util.tree_leaves_with_path(decays(shapes))}
  return {name for name, pulled in found.items() if pulled}, set(found)


def test_weight_decay_pulls_at_the_kernels_of_a_vqvae_alone():
  config = VQVAEConfig(embedding_dim=6, n_codes=11, n_hiddens=8, n_res_layers=1)
  pulled, every = decayed(lambda: VQVAE(config, rngs=nnx.Rngs(0)))
  assert {'encoder/convs/0/kernel', 'decoder/convts/0/kernel', 'pre_vq_conv/kernel'} <= pulled
  attention = 'encoder/res_stack/blocks/0/attention/attn_t/value/kernel'
  assert attention in pulled
  left = {name.split('/')[-1] for name in every - pulled}
  assert left == {'bias', 'scale'}
  assert {name.split('/')[-1] for name in pulled} == {'kernel'}


@pytest.mark.parametrize('classes', [0, 3])
def test_weight_decay_pulls_at_the_kernels_of_a_prior_but_not_at_its_norms(classes):
  """Stacked over layers, biases have two axes and kernels three."""
  config = PriorConfig(
    hidden_dim=16,
    n_heads=2,
    n_layers=2,
    n_classes=classes,
    n_cond_frames=1,
    resnet_dim=8,
    resnet_depth=18,
  )
  spec = CodeSpec((2, 2, 2), 11, 6, 4, 8)
  pulled, every = decayed(lambda: Prior(config, spec, rngs=nnx.Rngs(0)))
  block = {f'blocks/attn/{name}/kernel' for name in ('query', 'key', 'value', 'out')}
  assert block | {'blocks/mlp_in/kernel', 'fc_in/kernel', 'fc_out/kernel'} <= pulled
  assert 'conditioners/frames/resnet/stem/kernel' in pulled
  assert {name.split('/')[-1] for name in pulled} == {'kernel'}
  left = every - pulled
  assert {'blocks/attn/out/bias', 'positions/tables/0', 'sos'} <= left
  assert [name for name in left if name.endswith('kernel') and 'norm' not in name] == []
  norms = 'blocks/attn_norm/gain/kernel' if classes else 'blocks/attn_norm/scale'
  assert norms in left
