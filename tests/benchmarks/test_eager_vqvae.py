"""The baseline's VQ-VAE computes what ours computes, loss and codebook too; needs PyTorch."""

import jax
import numpy as np
import pytest
from flax import nnx

from videogpt_jax.interop.names import counter_names, vqvae_table
from videogpt_jax.interop.state_dict import to_tensors
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training.step import make_gradients

torch = pytest.importorskip('torch', reason='PyTorch is an optional extra: pip install torch')

CONFIG = VQVAEConfig(6, 9, n_hiddens=8, n_res_layers=1, downsample=(4, 2, 2))


def pair():
  """Our VQ-VAE, whose codebook has seen a batch, the baseline with its weights, and clips."""
  from benchmarks.eager_vqvae import EagerVQVAE

  ours = VQVAE(CONFIG, rngs=nnx.Rngs(0))
  codebook = ours.codebook
  codebook.initialised[...] = jax.numpy.ones((), bool)
  codebook.N[...] = jax.random.uniform(jax.random.key(1), codebook.N.shape, minval=2, maxval=9)
  codebook.z_avg[...] = codebook.embeddings[...] * codebook.N[...][..., None]
  tensors = to_tensors(nnx.state(ours), vqvae_table(CONFIG))
  tensors |= {name: np.array(0) for name in counter_names(CONFIG)}
  theirs = EagerVQVAE(CONFIG)
  theirs.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()})
  video = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 8, 6, 4, 3)).astype(np.float32)
  return ours, theirs, video, torch.tensor(np.moveaxis(video, -1, 1))


def test_it_encodes_and_reconstructs_as_ours():
  ours, theirs, video, theirs_video = pair()
  with torch.no_grad():
    _, reconstruction, codes = theirs.eval()(theirs_video)
  out = ours(video)
  np.testing.assert_array_equal(codes, out.quantized.codes)
  expected = np.moveaxis(np.asarray(out.reconstruction), -1, 1)
  np.testing.assert_allclose(reconstruction, expected, atol=1e-5)


def test_a_training_step_has_our_loss_gradients_and_codebook():
  ours, theirs, video, theirs_video = pair()
  stage = vqvae_stage(CONFIG)
  gradients = jax.jit(make_gradients(stage, *stage.updates))
  _, params, variables = nnx.split(ours, nnx.Param, ...)
  grads, moved, metrics = gradients(params, variables, None, {'video': video}, jax.random.key(0))
  theirs_value, *_ = theirs.train()(theirs_video)
  theirs_value.backward()
  np.testing.assert_allclose(theirs_value.item(), metrics['loss'], rtol=1e-5)
  named = dict(theirs.named_parameters())
  rows = [row for row in vqvae_table(CONFIG) if row.name in named]
  assert len(rows) == len(named)
  for name, grad in to_tensors(grads, rows).items():
    np.testing.assert_allclose(named[name].grad, grad, atol=2e-4, err_msg=name)
  buffers = dict(theirs.named_buffers())
  rows = [row for row in vqvae_table(CONFIG) if row.name in buffers]
  assert len(rows) == len(buffers) - len(counter_names(CONFIG))
  for name, value in to_tensors(moved, rows).items():
    np.testing.assert_allclose(buffers[name], value, atol=1e-4, err_msg=name)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_its_steps_lower_the_loss(dtype):
  from benchmarks.eager_vqvae import EagerVQVAE, train_step

  torch.manual_seed(0)
  model = EagerVQVAE(CONFIG).train()
  video = torch.linspace(-0.5, 0.5, 8)[None, None, :, None, None].expand(2, 3, 8, 4, 4)
  first, *_ = model(video)
  step = train_step(model, video, dtype)
  for _ in range(12):
    step()
  last, *_ = model(video)
  assert last < 0.9 * first
