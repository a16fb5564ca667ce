"""The whole job in seconds with each tokenizer: train, sample, score, encode, plan, export."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath

import videogpt_jax
from tests import tiny_config
from videogpt_jax import bundle, exchange, pixels
from videogpt_jax.config import from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.input import code_shards
from videogpt_jax.planning import programs as plans
from videogpt_jax.stages.run import run
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.training.vqvae_loss import LossConfig

CAUSAL = {'norm': 'group', 'time_padding': 'causal', 'time_mask': 'causal', 'time_window': 2}
FSQ = {'quantizer': 'fsq', 'levels': (4, 4), 'n_codes': 16, 'embedding_dim': 2}
BSQ = {'quantizer': 'bsq', 'n_codes': 2**4, 'embedding_dim': 8, 'n_codebooks': 2}
KINDS = {
  'causal fsq': FSQ | CAUSAL | {'first_frame_alone': True},
  'lfq': {'quantizer': 'lfq', 'n_codes': 2**18, 'embedding_dim': 18},
  'causal bsq': BSQ | CAUSAL | {'downsample': (1, 4, 4), 'norm': 'rms'},
  'sharp ema': {},
}
SHARP = LossConfig(
  perceptual='i3d',
  adversarial_weight=0.1,
  adversarial_start=1,
  discriminator_hiddens=4,
  discriminator_layers=2,
)


def tiny(kind):
  """Two steps of each stage."""
  config = from_dict(tiny_config.get_config())
  vqvae = dataclasses.replace(config.vqvae, **KINDS[kind])
  length = vqvae.time_grid.frames(3)
  training = dataclasses.replace(config.vqvae_training, steps=2, evaluate_every=2)
  return dataclasses.replace(
    config,
    dataset=dataclasses.replace(config.dataset, sequence_length=length),
    vqvae=vqvae,
    vqvae_loss=SHARP if kind.startswith('sharp') else config.vqvae_loss,
    vqvae_training=training,
    prior=dataclasses.replace(config.prior, cond_dropout=0.1),
    prior_training=training,
    sample=dataclasses.replace(config.sample, num=2, guidance=1.5, strategy='speculative'),
  )


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_a_run_with_each_tokenizer(kind, tmp_path):
  experiment, path = tiny(kind), epath.Path(tmp_path / 'run')
  run(experiment, path, ['vqvae', 'prior', 'sample', 'evaluate'])
  metrics = json.loads((path / 'metrics.json').read_text())
  assert 0 < metrics['codebook_usage'] <= 1
  assert 1 <= metrics['codebook_perplexity'] <= experiment.vqvae.n_codes
  # Untrained heads predict nothing: as many bits as a code has, but for two steps of learning.
  bits = np.log2(experiment.vqvae.n_codes)
  assert metrics['prior_bits_per_code'] == pytest.approx(bits, rel=0.1)

  gpt = videogpt_jax.load_videogpt(path)
  video = np.random.default_rng(0).uniform(-0.5, 0.5, (1, *experiment.codes.clip_shape))
  codes = gpt.vqvae.encode(video := video.astype(np.float32))
  assert codes.shape == (1, *gpt.latent_shape)
  assert gpt.logits(codes, class_label=3).shape[:-1] == codes.shape
  if kind.startswith('causal'):
    streamed = [*gpt.vqvae.encode_stream([video[:, :2], video[:, 2:]])]
    np.testing.assert_array_equal(np.concatenate(streamed, axis=1), codes)

  encode = lambda clips: gpt.vqvae.encode(pixels.to_model_range(clips))
  dataset = dataclasses.replace(experiment.dataset, n_train_clips=2, n_test_clips=2)
  arguments = {'n_crops': 1, 'n_cond_frames': 0, 'batch_size': 2, 'seed': 0, 'made_from': {}}
  out = str(tmp_path / 'codes')
  code_shards.write_codes(dataset, encode, out, progress=lambda *_: None, **arguments)

  bundle.export(str(path), tmp_path / 'folder', bundle.Options(), lambda line: None)
  exported = videogpt_jax.load_videogpt(tmp_path / 'folder')
  np.testing.assert_array_equal(
    *(model.sample(1, class_label=3, seed=1) for model in (gpt, exported))
  )

  if kind == 'sharp ema':
    exchange.export_model(path, epath.Path(tmp_path / 'out'))
    exported = videogpt_jax.load_vqvae(tmp_path / 'out')
    np.testing.assert_array_equal(exported.encode(video), codes)
    return
  with pytest.raises(UserError, match=r'published code cannot hold this VQ-VAE: .*quantizer'):
    exchange.export_model(path, epath.Path(tmp_path / 'out'))


@pytest.mark.parametrize('kind', KINDS)
def test_every_program_of_each_tokenizer_can_be_planned(kind):
  mesh = make_mesh(MeshConfig(2), jax.devices()[:2])
  for name in plans.STAGES:
    step = plans.make_step(name, tiny(kind), mesh)
    assert step.lower().cost_analysis()['flops'] > 0
