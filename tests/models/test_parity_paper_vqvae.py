"""The VQ-VAE computes what VideoGPT-Paper's computes: layers, gradients and training steps."""

import collections
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from tests.goldens.golden import relative_error
from tests.goldens.paper import VQVAEGolden, channels_last, codes_of, quick_jit, under
from videogpt_jax.interop import state_dict
from videogpt_jax.models.attention.axial import AxialAttention
from videogpt_jax.models.vqvae import Decoder, Encoder
from videogpt_jax.stages import train_vqvae
from videogpt_jax.training.optimizer import (
  OptimizerConfig,
  apply_updates,
  global_norm,
  make_optimizer,
)

NAMES = ['vqvae_ds222', 'vqvae_ds422', 'vqvae_noattn', 'vqvae_books2']

SUBTRACTED = ('encoder.conv_last.conv.bias', 'decoder.conv1.conv.bias', 'to_out.bias')
"""Constants that every batch norm behind them subtracts: their gradients are 0 or rounding."""


@functools.cache
def evaluated(name):
  """The output in evaluation, and what is on the way: a dict by the golden file's names."""
  golden, calls = VQVAEGolden(name), collections.defaultdict(list)
  model = golden.model()

  def record(patch, kind, method):
    original = getattr(kind, method)

    def call(self, x, *arguments):
      calls[kind].append((x, original(self, x, *arguments)))
      return calls[kind][-1][1]

    patch.setattr(kind, method, call)

  def run(video):
    out = model(video)
    found = {'encoder': calls[Encoder][0][1], 'decoder_conv1': calls[Decoder][0][0]}
    if golden.config.axial_attention:
      found |= dict(zip(('axial_in', 'axial_out'), calls[AxialAttention][0], strict=True))
      found |= {'pos_embd': model.positions()[None]}
    return out, found

  with pytest.MonkeyPatch.context() as patch:
    for kind in (Encoder, AxialAttention):
      record(patch, kind, '__call__')
    record(patch, Decoder, 'features')
    return golden, *quick_jit(run)(channels_last(golden.arrays['in/video']))


@pytest.mark.parametrize('name', NAMES)
class TestEvaluation:
  def test_codes_are_identical(self, name):
    golden, out, _ = evaluated(name)
    np.testing.assert_array_equal(out.quantized.codes, codes_of(golden.arrays['eval/encodings']))

  def test_every_recorded_layer(self, name):
    golden, out, found = evaluated(name)
    recorded = under(golden.arrays, 'eval/')
    assert len(found) == (5 if golden.config.axial_attention else 2)
    for key, ours in found.items():
      theirs = recorded[key] if key == 'pos_embd' else channels_last(recorded[key])
      assert relative_error(ours, theirs) < 1e-4, key
    assert relative_error(out.z, channels_last(recorded['z'])) < 1e-4
    for key in ('recon', 'decode'):  # those of `decode` itself: tests/interop/test_paper.py
      assert relative_error(out.reconstruction, channels_last(recorded[key])) < 1e-4

  def test_losses_and_perplexity(self, name):
    golden, out, _ = evaluated(name)
    recorded, video = under(golden.arrays, 'eval/'), channels_last(golden.arrays['in/video'])
    reconstruction = np.mean((out.reconstruction - video) ** 2) / train_vqvae.DATA_VARIANCE
    commitment = out.quantized.losses['commitment_loss']
    perplexity = out.quantized.statistics['batch_codebook_perplexity']
    assert relative_error(reconstruction, recorded['recon_loss']) < 1e-5
    assert relative_error(commitment, recorded['commitment_loss']) < 1e-5
    assert relative_error(reconstruction + commitment, recorded['loss']) < 1e-5
    assert relative_error(perplexity, recorded['perplexity']) < 1e-5


@functools.cache
def trained(name):
  """Three training steps: metrics of each; tensors of the first gradient and of the state then."""
  golden = VQVAEGolden(name)
  model = golden.model(**under(golden.arrays, 'train/param/'))
  graphdef, params, variables = nnx.split(model, nnx.Param, ...)
  batch, key = {'video': channels_last(golden.arrays['in/video'])}, jax.random.key(0)
  adam = make_optimizer(OptimizerConfig(3e-4, 'constant', clip_norm=1), steps=3)

  @quick_jit
  def step(params, variables, opt_state):
    def loss_fn(params):
      model = nnx.merge(graphdef, params, variables, copy=True)
      outputs = []
      recording = lambda *inputs: outputs.append(model(*inputs)) or outputs[-1]
      loss, metrics = train_vqvae.loss(recording, None, batch, key)
      metrics |= {'loss': loss}
      return loss, (metrics, outputs[0], nnx.state(model, nnx.Not(nnx.Param)))

    (_, (metrics, out, variables)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    updates, opt_state = adam.update(grads, opt_state, params)
    metrics |= {'grad_norm': global_norm(grads)}
    return apply_updates(params, updates), variables, opt_state, grads, metrics, out

  opt_state, steps, first = adam.init(params), [], None
  for _ in range(3):
    params, variables, opt_state, grads, metrics, out = step(params, variables, opt_state)
    steps.append({key: float(x) for key, x in metrics.items()})
    first = first or (grads, nnx.merge_state(params, variables), out)
  grads, after, out = first
  learnt = dict(nnx.to_flat_state(grads))
  grads = state_dict.to_tensors(grads, [row for row in golden.table if row.path in learnt])
  return golden, steps, grads, state_dict.to_tensors(after, golden.table), out


SLOW = ('vqvae_ds222', 'vqvae_ds422')


@pytest.mark.parametrize(
  'name', [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NAMES]
)
class TestTraining:
  def test_losses_and_norms_of_the_first_steps(self, name):
    golden, steps, *_ = trained(name)
    recorded = under(golden.arrays, 'train/steps/')
    ours = {'loss': 'loss', 'recon_loss': 'reconstruction_loss'}
    ours |= {'commitment_loss': 'commitment_loss', 'grad_norm': 'grad_norm'}
    assert recorded.keys() == ours.keys()
    for key, values in recorded.items():
      np.testing.assert_allclose([step[ours[key]] for step in steps], values, 1e-4, err_msg=key)
    assert relative_error(np.float32(steps[0]['loss']), golden.arrays['train/loss']) < 1e-5
    assert steps[0]['batch_codebook_perplexity'] == pytest.approx(
      golden.arrays['train/perplexity'], rel=1e-5
    )

  def test_codes_and_reconstruction(self, name):
    golden, *_, out = trained(name)
    np.testing.assert_array_equal(out.quantized.codes, codes_of(golden.arrays['train/encodings']))
    assert relative_error(out.z, channels_last(golden.arrays['train/z'])) < 1e-4
    assert relative_error(out.reconstruction, channels_last(golden.arrays['train/recon'])) < 1e-4

  def test_every_gradient(self, name):
    golden, _, grads, *_ = trained(name)
    recorded = under(golden.arrays, 'train/grad/')
    assert recorded.keys() == grads.keys()
    for tensor, x in recorded.items():
      error = np.linalg.norm(grads[tensor] - x)
      # Without attention, what follows the biases is no batch norm alone.
      if tensor.endswith(SUBTRACTED) and np.linalg.norm(x) < 1e-5:
        assert np.abs(grads[tensor] - x).max() < 1e-6, tensor
      else:
        assert error < 1e-3 * np.linalg.norm(x), tensor

  def test_state_after_the_first_step(self, name):
    golden, _, grads, after, _ = trained(name)
    for tensor, x in under(golden.arrays, 'train/after/').items():
      compared = np.ones(x.shape, bool)
      if tensor in grads:
        # Adam's first step is the gradient's sign, which rounding decides where it is next to 0.
        grad = np.abs(golden.arrays[f'train/grad/{tensor}'])
        compared = grad > 1e-4 * grad.max()
        assert compared.mean() > 0.75
      np.testing.assert_allclose(after[tensor][compared], x[compared], 0, 1e-5, err_msg=tensor)
