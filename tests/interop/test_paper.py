"""Checkpoints of VideoGPT-Paper load by their keys, priors with the VQ-VAE that they name."""

import shutil

import numpy as np
import pytest

import videogpt_jax
from tests.goldens.golden import relative_error
from tests.goldens.paper import FOLDER, arrays, channels_last, codes_of, under
from videogpt_jax import exchange
from videogpt_jax.errors import UserError
from videogpt_jax.interop import published
from videogpt_jax.interop.torch_file import read_checkpoint, write_checkpoint
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason='../shared/goldens/paper is not here')


@pytest.mark.parametrize('name', ['vqvae_ds222', 'vqvae_ds422', 'vqvae_books2'])
def test_a_vqvae_gives_the_results_of_its_golden_file(name):
  golden, vqvae = arrays(name), videogpt_jax.load_vqvae(FOLDER / f'{name}.pth.tar')
  codes = vqvae.encode(channels_last(golden['in/video']))
  np.testing.assert_array_equal(codes, codes_of(golden['eval/encodings']))
  assert relative_error(vqvae.decode(codes), channels_last(golden['eval/decode'])) < 1e-4


@pytest.mark.parametrize('name', ['uncond', 'cls'])
def test_a_prior_gives_the_results_of_its_golden_file(name):
  golden = under(arrays('gpt_full'), f'{name}/')
  gpt = videogpt_jax.load_videogpt(FOLDER / f'gpt_{name}.pth.tar')
  label = golden.get('in/label')
  logits = gpt.logits(codes_of(golden['in/encodings']), class_label=label)
  assert relative_error(logits, codes_of(golden['eval/logits'])) < 1e-4
  codes = gpt.sample_codes(2, class_label=label, temperature=0)
  np.testing.assert_array_equal(codes, codes_of(golden['greedy/encodings']))


def test_hyper_parameters_are_those_of_the_file():
  found = published.load(FOLDER / 'gpt_cls.pth.tar')
  assert found.vqvae == VQVAEConfig(
    embedding_dim=16,
    n_codes=24,
    n_hiddens=12,
    n_res_layers=2,
    residual_dim=14,
    downsample=(4, 2, 2),
    axial_positions=True,
    post_vq_kernel=3,
  )
  assert found.prior == PriorConfig(
    hidden_dim=24,
    n_heads=3,
    n_layers=2,
    head_dim=10,
    attn_bias=False,
    mlp_dim=72,
    dropout=0,
    attn_dropout=0,
    n_classes=5,
    codebook_axis=True,
  )
  assert (found.sequence_length, found.resolution, found.step) == (8, 16, 10)
  assert published.load(FOLDER / 'vqvae_books2.pth.tar').vqvae.embedding_dim == 2 * 8


def test_it_becomes_a_workdir(tmp_path):
  found = published.load(FOLDER / 'gpt_uncond.pth.tar')
  exchange.import_to_workdir(tmp_path / 'run', found, exchange.stated_experiment(found, 'run'))
  golden = under(arrays('gpt_full'), 'uncond/')
  gpt = videogpt_jax.load_videogpt(tmp_path / 'run')
  logits = gpt.logits(codes_of(golden['in/encodings']))
  assert relative_error(logits, codes_of(golden['eval/logits'])) < 1e-4
  with pytest.raises(UserError, match='cannot hold this VQ-VAE: axial_positions True'):
    exchange.export_model(tmp_path / 'run', tmp_path / 'out')


class TestBadFiles:
  @pytest.fixture
  def prior(self, tmp_path):
    return shutil.copy(FOLDER / 'gpt_uncond.pth.tar', tmp_path)

  def test_a_missing_vqvae_is_named(self, prior):
    with pytest.raises(UserError, match=r'gpt_uncond\.pth\.tar: .*names vqvae_ds422\.pth'):
      published.load(prior)

  def test_a_vqvae_is_found_beside_the_prior_wherever_it_was(self, prior, tmp_path):
    tree = read_checkpoint(prior) | {'vqvae_ckpt': '/elsewhere/vqvae_ds422.pth.tar'}
    write_checkpoint(prior, tree)
    shutil.copy(FOLDER / 'vqvae_ds422.pth.tar', tmp_path)
    assert published.load(prior).codes.latent_shape == (2, 8, 8)

  def test_files_of_one_name_are_told_apart_by_their_folders(self, prior, tmp_path):
    best = tmp_path / 'gpt' / 'model_best.pth.tar'
    best.parent.mkdir()
    named = '/home/elsewhere/vae/checkpoints/model_best.pth.tar'
    write_checkpoint(best, read_checkpoint(prior) | {'vqvae_ckpt': named})
    with pytest.raises(UserError, match=f'it names {named}; .* as checkpoints/model_best.pth.tar '):
      published.load(best)
    for place in ('checkpoints', 'vae/checkpoints'):
      vqvae = best.parent / place / 'model_best.pth.tar'
      vqvae.parent.mkdir(parents=True)
      shutil.copy(FOLDER / 'vqvae_ds422.pth.tar', vqvae)
      assert published.load(best).codes.latent_shape == (2, 8, 8)
      shutil.copy(prior, vqvae)
      with pytest.raises(UserError, match=f'{named}, which it names, is no VQ-VAE'):
        published.load(best)

  def test_a_vqvae_of_other_codes_is_refused(self, prior, tmp_path):
    shutil.copy(FOLDER / 'vqvae_ds222.pth.tar', tmp_path / 'vqvae_ds422.pth.tar')
    with pytest.raises(UserError, match=r'do not fit: .* are \(\(2, 8, 8, 1\), 24, 16\) and \(\(4'):
      published.load(prior)

  def test_a_missing_parameter_or_tensor_is_named(self, tmp_path):
    tree = read_checkpoint(FOLDER / 'vqvae_ds422.pth.tar')
    name = 'encoder.res_stack.blocks.1.block.11.axial_attentions.2.fn.to_kv.weight'
    for part, missing in (('hp', 'num_hiddens'), ('state_dict', name)):
      less = {key: x for key, x in tree[part].items() if key != missing}
      write_checkpoint(tmp_path / 'x.pth.tar', tree | {part: less})
      with pytest.raises(UserError, match=missing):
        published.load(tmp_path / 'x.pth.tar')
