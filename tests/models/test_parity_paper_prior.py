"""The prior computes what VideoGPT-Paper's computes: logits, gradients, training, decoding."""

import functools
import json

import jax
import numpy as np
import pytest
from flax import nnx

from tests.goldens.golden import relative_error
from tests.goldens.paper import (
  PriorGolden,
  VQVAEGolden,
  arrays,
  channels_last,
  codes_of,
  quick_jit,
  under,
)
from tests.goldens.recipe import parameter
from videogpt_jax.interop import names, paper_names, state_dict
from videogpt_jax.models.attention import strided_mask
from videogpt_jax.models.resnet import ResNet
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.sequential import decode
from videogpt_jax.stages.train_prior import nats_per_code
from videogpt_jax.training.optimizer import (
  OptimizerConfig,
  apply_updates,
  global_norm,
  learning_rate_schedule,
  make_optimizer,
)

PRIORS = [
  *[('gpt_full', prior) for prior in ('uncond', 'cls', 'vector', 'books2', 'frame', 'cls_frame')],
  *[('gpt_sparse', prior) for prior in ('uncond', 'cls_books2', 'frame')],
]

SLOW = [('gpt_full', 'frame'), ('gpt_full', 'cls_frame'), ('gpt_sparse', 'frame')]
"""Priors whose frame encoder is dear to compile."""


def marked(slow):
  """The priors, some of them marked as slow."""
  return [pytest.param(*p, marks=[pytest.mark.slow] * (p in slow)) for p in PRIORS]


@functools.cache
def trained(file, prior):
  """The first training steps: losses and norms; logits, memory and gradients of the first."""
  golden = PriorGolden(file, prior)
  embeddings = golden.quantizer().lookup(codes := codes_of(golden.arrays['in/encodings']))
  graphdef, params = nnx.split(golden.model())
  n_steps, config = len(golden.arrays['steps/loss']), OptimizerConfig(golden.hp['lr'], clip_norm=1)
  adam = make_optimizer(config, golden.hp['total_iters'])

  @quick_jit
  def step(params, opt_state):
    def loss(params):
      prior = nnx.merge(graphdef, params)
      condition = prior.condition(golden.conditions)
      logits = prior(embeddings, condition)
      return nats_per_code(prior.factors, logits, codes).mean(), (logits, condition.memory)

    (value, outputs), grads = jax.value_and_grad(loss, has_aux=True)(params)
    updates, opt_state = adam.update(grads, opt_state, params)
    return apply_updates(params, updates), opt_state, value, global_norm(grads), grads, outputs

  opt_state, steps, first = adam.init(params), [], None
  for _ in range(n_steps):
    params, opt_state, loss, norm, grads, outputs = step(params, opt_state)
    steps.append((float(loss), float(norm)))
    first = first or (state_dict.to_tensors(grads, golden.table), *outputs)
  return golden, np.array(steps), *first


@pytest.mark.parametrize('file, prior', marked(SLOW))
class TestTraining:
  def test_logits_and_loss(self, file, prior):
    golden, steps, _, logits, memory = trained(file, prior)
    assert relative_error(logits, codes_of(golden.arrays['eval/logits'])) < 1e-4
    assert relative_error(steps[0, 0], golden.arrays['eval/loss']) < 1e-5
    if 'eval/frame_features' in golden.arrays:
      features = memory - golden.model().conditioners.frames.positions().reshape(memory[0].shape)
      recorded = golden.arrays['eval/frame_features']
      assert relative_error(features.reshape(recorded.shape), recorded) < 1e-4

  def test_every_gradient(self, file, prior):
    golden, _, grads, *_ = trained(file, prior)
    norms = under(golden.arrays, 'grad_norm/')
    assert norms.keys() == grads.keys()
    for tensor, norm in norms.items():
      assert abs(np.linalg.norm(grads[tensor]) - norm) < 1e-3 * norm, tensor
    for tensor, x in under(golden.arrays, 'grad/').items():
      assert np.linalg.norm(grads[tensor] - x) < 1e-3 * norms[tensor], tensor

  def test_losses_norms_and_rates_of_the_first_steps(self, file, prior):
    golden, steps, *_ = trained(file, prior)
    recorded = under(golden.arrays, 'steps/')
    np.testing.assert_allclose(steps[:, 0], recorded['loss'], 1e-4)
    np.testing.assert_allclose(steps[:, 1], recorded['grad_norm'], 1e-4)
    rate = learning_rate_schedule(OptimizerConfig(golden.hp['lr']), golden.hp['total_iters'])
    np.testing.assert_allclose([rate(i) for i in range(len(steps))], recorded['lr'], 1e-5)


@functools.cache
def decoded(file, prior):
  """Teacher-forced logits of decoding, and greedy codes."""
  golden = PriorGolden(file, prior)
  model, lookup = golden.model(), golden.quantizer().lookup
  codes = codes_of(golden.arrays['in/encodings'])

  @quick_jit
  def run(codes):
    condition, keys = model.condition(golden.conditions), jax.random.split(jax.random.key(0), 2)
    controls, given = Controls(temperature=None), codes.reshape(2, -1)
    prefilled = decode(model, lookup, condition, keys, controls, given, with_logits=True)
    return prefilled.logits, decode(model, lookup, condition, keys, controls).codes

  return golden, *run(codes)


@pytest.mark.parametrize('file, prior', marked([SLOW[0], SLOW[2]]))
class TestDecoding:
  def test_logits(self, file, prior):
    golden, logits, _ = decoded(file, prior)
    assert relative_error(logits, codes_of(golden.arrays['decode/logits'])) < 1e-4

  def test_greedy_codes(self, file, prior):
    golden, _, codes = decoded(file, prior)
    np.testing.assert_array_equal(codes, codes_of(golden.arrays['greedy/encodings']))


@pytest.mark.parametrize('prior', ['uncond', 'books2'])
def test_the_video_of_greedy_codes(prior):
  golden = PriorGolden('gpt_full', prior)
  vqvae = VQVAEGolden(golden.hp['vqvae']).model()
  video = quick_jit(vqvae.decode)(codes_of(golden.arrays['greedy/encodings']))
  recorded = channels_last(golden.arrays['greedy/video'])
  assert np.abs(np.clip(video, -0.5, 0.5) + 0.5 - recorded).max() < 1e-4


@pytest.mark.slow
def test_the_larger_stem_from_128_pixels_on():
  golden = under(arrays('gpt_full'), 'resnet128/')
  hp = json.loads(str(arrays('gpt_full')['config']))['resnet128']
  grid = hp['resnet_output_shape']
  stride = tuple(n // m for n, m in zip(hp['size'], grid, strict=True))
  create = lambda: ResNet(18, hp['resnet_dim'], stride, large_stem=True, rngs=nnx.Rngs(0))
  resnet = nnx.eval_shape(create)
  prefix = 'cond_nets.0.'
  table = names.rows_of(names.within(prefix[:-1], 'resnet', paper_names.resnet(18)))
  table = [row._replace(path=row.path[1:]) for row in table]
  shapes = hp['state_dict_shapes'].items()
  tensors = {name: parameter(name, tuple(shape), hp['salt']) for name, shape in shapes}
  nnx.update(resnet, state_dict.to_state(tensors, table, nnx.state(resnet)))
  frames = channels_last(golden['in/frames']).astype(np.float32) / 255 - 0.5
  features = quick_jit(lambda x: resnet(x))(frames)
  assert relative_error(features, golden['eval/frame_features']) < 1e-4


def test_sparse_layouts():
  golden = arrays('sparse_layouts')
  sizes = json.loads(str(golden['config']))
  for name in golden.keys() - {'config'}:
    shape = tuple(map(int, name.split('x')))
    shape = shape if shape[-1] > 1 else shape[:-1]
    mask = strided_mask(shape, sizes['block'], sizes['num_local_blocks'])
    np.testing.assert_array_equal(mask.layout, golden[name], err_msg=name)
