"""The VQ-VAE computes what the published one computes: forward, gradients and a training step."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from tests.goldens.golden import Golden, models_of, relative_error, vqvae_of
from videogpt_jax.interop import names, state_dict
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.stages import train_vqvae
from videogpt_jax.training.optimizer import OptimizerConfig, apply_updates, make_optimizer

NAMES = ['vqvae_ds444', 'vqvae_ds422', 'vqvae_ds422_wide']

SUBTRACTED = ('conv_last.conv.bias', 'fc.bias', 'post_vq_conv.conv.bias')
"""Constants that every batch norm behind them subtracts: their gradients are 0 or rounding."""


@pytest.fixture(scope='module', params=NAMES)
def golden(request):
  return Golden(request.param)


def test_codes_are_identical(golden):
  vqvae, _ = models_of(vqvae_of(golden))
  video, codes = golden.video('in/video'), golden['eval/encodings']
  np.testing.assert_array_equal(jax.jit(vqvae.encode)(video), codes)


def test_z_reconstruction_and_losses(golden):
  vqvae, _ = models_of(vqvae_of(golden))
  video, z = golden.video('in/video'), golden.video('eval/z')
  out = jax.jit(lambda video: vqvae(video))(video)
  assert relative_error(out.z, z) < 1e-4
  assert relative_error(out.reconstruction, golden.video('eval/recon')) < 1e-4
  reconstruction_loss = np.mean((out.reconstruction - video) ** 2) / train_vqvae.DATA_VARIANCE
  assert relative_error(reconstruction_loss, golden['eval/recon_loss']) < 1e-5
  assert (
    relative_error(out.quantized.losses['commitment_loss'], golden['eval/commitment_loss']) < 1e-5
  )
  perplexity = out.quantized.statistics['batch_codebook_perplexity']
  assert relative_error(perplexity, golden['eval/perplexity']) < 1e-5


def test_decode(golden):
  vqvae, _ = models_of(vqvae_of(golden))
  video = golden.video('eval/decode')
  assert relative_error(jax.jit(vqvae.decode)(golden['eval/encodings']), video) < 1e-4


@functools.cache
def training_step(name):
  """Loss, metrics, output, and the published tensors of gradients and state after one step."""
  golden = Golden(name)
  replaced = {key: golden[f'train/param/{key}'] for key in ('codebook.N', 'codebook.z_avg')}
  model, _ = models_of(vqvae_of(golden, **replaced))
  graphdef, params, variables = nnx.split(model, nnx.Param, ...)
  batch, key = {'video': golden.video('in/video')}, jax.random.key(0)

  @jax.jit
  def step(params, variables):
    def loss_fn(params):
      model, outputs = nnx.merge(graphdef, params, variables, copy=True), []
      recording = lambda *inputs: outputs.append(model(*inputs)) or outputs[-1]
      loss, metrics = train_vqvae.loss(recording, None, batch, key)
      return loss, (metrics, outputs[-1], nnx.state(model, nnx.Not(nnx.Param)))

    (loss, (metrics, out, after)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    adam = make_optimizer(OptimizerConfig(3e-4, 'constant', clip_norm=0), steps=1)
    updates, _ = adam.update(grads, adam.init(params), params)
    return loss, metrics, out, grads, nnx.merge_state(apply_updates(params, updates), after)

  loss, metrics, out, grads, after = step(params, variables)
  table = names.vqvae_table(model.config)
  learnt = [row for row in table if row.path in dict(nnx.to_flat_state(grads))]
  grads = state_dict.to_tensors(grads, learnt)
  return golden, loss, metrics, out, grads, state_dict.to_tensors(after, table)


@pytest.mark.parametrize('name', [*NAMES[:2], pytest.param(NAMES[2], marks=pytest.mark.slow)])
class TestTrainingStep:
  def test_losses(self, name):
    golden, loss, metrics, *_ = training_step(name)
    assert relative_error(loss, golden['train/loss']) < 1e-5
    assert relative_error(metrics['reconstruction_loss'], golden['train/recon_loss']) < 1e-5
    assert relative_error(metrics['commitment_loss'], golden['train/commitment_loss']) < 1e-5

  def test_codes_and_reconstruction(self, name):
    golden, _, _, out, *_ = training_step(name)
    np.testing.assert_array_equal(out.quantized.codes, golden['train/encodings'])
    assert relative_error(out.reconstruction, golden.video('train/recon')) < 1e-4

  def test_every_gradient(self, name):
    golden, *_, grads, _ = training_step(name)
    recorded = golden.under('train/grad/')
    assert recorded.keys() == grads.keys()
    rounding = 2.0**-20 * np.linalg.norm([np.linalg.norm(x) for x in recorded.values()])
    for tensor, x in recorded.items():
      error, size = np.linalg.norm(grads[tensor] - x), np.linalg.norm(x)
      if tensor.endswith(SUBTRACTED):
        assert max(error, size) < rounding, tensor
      else:
        assert error < 1e-3 * size, tensor

  def test_state_after_it(self, name):
    golden, *_, grads, after = training_step(name)
    for tensor, x in golden.under('train/after/').items():
      compared = np.ones(x.shape, bool)
      if tensor in grads:
        # Adam's first step is the gradient's sign, which rounding decides where it is next to 0.
        grad = np.abs(golden[f'train/grad/{tensor}'])
        compared = grad > 1e-4 * grad.max()
        assert compared.mean() > 0.75
      np.testing.assert_allclose(after[tensor][compared], x[compared], 0, 1e-5, err_msg=tensor)


def test_parameter_count_of_the_published_bair_model():
  config = VQVAEConfig(
    embedding_dim=256, n_codes=2048, n_hiddens=240, n_res_layers=4, downsample=(4, 2, 2)
  )
  model = nnx.eval_shape(lambda: VQVAE(config, rngs=nnx.Rngs(0)))
  assert sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param))) == 21_141_619
