"""A stage with several updates, and that one update is what training always was."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import pair, tiny
from tests.training.tiny import ListLog, Stop, StoppedError, batch, data, leaves
from videogpt_jax.training import optimizer as optim
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.training.step import Stage, init_state, make_gradients, make_train_step

SECTION = OptimizerConfig(learning_rate=0.01, schedule='constant')

KEY = jax.random.key(4)


def one_step(stage, grad_accum_steps=1, config=SECTION):
  """States before and after the first step, and its metrics."""
  before = init_state(stage, config, 10, jax.random.key(1))
  step = jax.jit(make_train_step(stage, config, 10, grad_accum_steps))
  return before, *step(before, None, batch(0), KEY)


def kernels(state):
  return {name: np.asarray(state.params[name]['kernel'][...]) for name in state.params}


def test_each_update_moves_its_own_parameters_as_those_before_left_the_others():
  """By hand: the first step of Adam is the learning rate times g / (|g| + 1e-8)."""
  stage = pair.make_stage()
  before, after, metrics = one_step(stage)
  params, variables = before.params, before.variables
  keys = jax.random.split(jax.random.fold_in(KEY, 0))
  for update, key, rate in zip(stage.updates, keys, (0.01, 0.05), strict=True):
    found = make_gradients(stage, update)(params, variables, None, batch(0), key)
    grads, variables, told = found
    assert list(grads) == [update.name]  # the other's parameters have no gradient
    moves = jax.tree.map(lambda g, r=rate: -r * g / (abs(g) + 1e-8), grads)
    own, others = update.split(params)
    params = nnx.merge_state(jax.tree.map(jax.numpy.add, own, moves), others)
    np.testing.assert_allclose(metrics[f'{update.name}/loss'], told['loss'], rtol=1e-6)
    np.testing.assert_allclose(metrics[f'{update.name}/learning_rate'], rate, rtol=1e-6)
  for a, b in zip(leaves(after.params), leaves(params), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
  assert all((kernels(before)[name] != kernels(after)[name]).any() for name in kernels(after))
  assert int(after.step) == 1 and int(after.variables['calls'][...]) == 1


def test_an_update_leaves_what_is_not_its_own():
  still = dataclasses.replace(pair.DISCRIMINATOR, optimizer=OptimizerConfig(learning_rate=0.0))
  before, after, _ = one_step(pair.make_stage(pair.GENERATOR, still))
  same = {name: (kernels(before)[name] == kernels(after)[name]).all() for name in kernels(after)}
  assert same == {'generator': False, 'discriminator': True}


def test_metrics_are_named_after_their_update_and_randomness_is_each_ones_own():
  *_, metrics = one_step(pair.make_stage())
  told = ('loss', 'draw', 'gradient_norm', 'learning_rate')
  named = {f'{u}/{name}' for u in ('generator', 'discriminator') for name in told}
  assert set(metrics) == named | {'skipped'}
  assert metrics['generator/draw'] != metrics['discriminator/draw']
  *_, metrics = one_step(pair.make_stage(pair.GENERATOR))
  assert set(metrics) == {*told, 'skipped'}


def test_clipping_is_each_updates_own():
  """Adam's first moment is a tenth of the gradient, which is clipped before."""
  config = dataclasses.replace(SECTION, clip_norm=1e-3)
  loose = dataclasses.replace(
    pair.DISCRIMINATOR, optimizer=dataclasses.replace(config, clip_norm=0)
  )
  _, after, metrics = one_step(pair.make_stage(pair.GENERATOR, loose), config=config)
  norms = {name: optim.global_norm(state[1].mu) for name, state in after.opt_state.items()}
  assert metrics['generator/gradient_norm'] > 1e-2
  np.testing.assert_allclose(norms['generator'], 1e-4, rtol=1e-5)
  np.testing.assert_allclose(
    norms['discriminator'], 0.1 * metrics['discriminator/gradient_norm'], rtol=1e-5
  )


def test_micro_batches_add_up_to_the_batch_for_each_update():
  _, whole, _ = one_step(pair.make_stage())
  _, parts, _ = one_step(pair.make_stage(), grad_accum_steps=2)
  for a, b in zip(leaves(whole.params), leaves(parts.params), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(*(s.variables['total'][...] for s in (whole, parts)), rtol=1e-4)
  assert int(parts.variables['calls'][...]) == 2


def test_a_stage_with_two_updates_resumes_as_if_it_had_never_stopped(tmp_path):
  config = TrainingConfig(
    steps=6,
    batch_size=8,
    optimizer=dataclasses.replace(SECTION, ema_decay=0.9),
    log_every=1,
    checkpoint_every=2,
  )
  mesh = make_mesh(MeshConfig(), jax.devices()[:1])

  def train(folder, log):
    with Checkpoints(tmp_path / folder) as checkpoints:
      return fit(pair.make_stage(), config, data(), mesh, checkpoints, log)

  whole = train('whole', log := ListLog('discriminator/loss'))
  with pytest.raises(StoppedError):
    train('cut', Stop(5, 'discriminator/loss'))
  resumed = train('cut', rest := ListLog('discriminator/loss'))
  assert rest.losses == {step: log.losses[step] for step in (5, 6)}
  for a, b in zip(leaves(whole), leaves(resumed), strict=True):
    np.testing.assert_array_equal(a, b)


def test_updates_that_could_not_be_told_apart_are_refused():
  with pytest.raises(AssertionError, match='different names'):
    pair.make_stage(pair.GENERATOR, pair.GENERATOR)
  nobody = dataclasses.replace(pair.GENERATOR, params=nnx.PathContains('critic'))
  with pytest.raises(AssertionError, match='generator of stage pair has no parameters'):
    one_step(pair.make_stage(nobody))


def plain_train_step(stage: Stage, config: OptimizerConfig, steps: int):
  """The step for one loss and one optimiser over all parameters, without any notion of updates."""
  graphdef, *_ = stage.abstract()
  optimizer = optim.make_optimizer(config, steps)
  schedule = optim.learning_rate_schedule(config, steps)

  def train_step(state, frozen, batch, key):
    step, params, variables, opt_state = state
    before = params, variables, opt_state
    key = jax.random.fold_in(key, step)

    def loss_fn(params):
      model = nnx.merge(graphdef, params, variables, copy=True)
      loss, metrics = stage.updates[0].loss(model, frozen, batch, key)
      return loss, (metrics | {'loss': loss}, nnx.state(model, nnx.Not(nnx.Param)))

    grads, (metrics, moved) = jax.grad(loss_fn, has_aux=True)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = optim.apply_updates(params, updates)
    metrics |= {
      'gradient_norm': optim.global_norm(grads),
      'learning_rate': schedule(step),
    }
    finite = jnp.isfinite(jnp.stack([metrics['loss'], metrics['gradient_norm']])).all()
    after = jax.tree.map(lambda a, b: jnp.where(finite, a, b), (params, moved, opt_state), before)
    return (step + 1, *after), metrics | {'skipped': ~finite}

  return train_step


@pytest.mark.parametrize('name', ['vqvae', 'prior'])
def test_a_single_update_compiles_to_the_plain_step(name):
  stage, config = tiny.make_stage(name), OptimizerConfig(warmup_steps=2)
  state = jax.eval_shape(lambda: init_state(stage, config, 10, jax.random.key(1)))
  plain = state.step, state.params, state.variables, state.opt_state[name]
  rest = jax.eval_shape(lambda: stage.frozen), batch(0), jax.eval_shape(lambda: jax.random.key(0))
  texts = [
    jax.jit(step).lower(first, *rest).as_text()
    for step, first in (
      (make_train_step(stage, config, 10), state),
      (plain_train_step(stage, config, 10), plain),
    )
  ]
  found, wanted = (re.sub(r'jax.result_info = "[^"]*"', '', text) for text in texts)
  assert len(wanted.splitlines()) > 500
  assert found == wanted
