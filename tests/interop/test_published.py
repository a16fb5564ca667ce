"""Published checkpoints load as our models, and ours are written as published ones."""

import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

import videogpt_jax
from tests.goldens.golden import HERE as GOLDENS
from tests.goldens.golden import Golden, checkpoint, prior_of, relative_error
from videogpt_jax.errors import UserError
from videogpt_jax.interop import hyper_parameters, published, well_known
from videogpt_jax.interop.torch_file import read_checkpoint, write_checkpoint
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig

FILES = ['vqvae.ckpt', 'gpt_uncond.ckpt']
PRIORS = ['gpt_uncond', 'gpt_class', 'gpt_frame', 'gpt_class_frame', 'gpt_sparse']


def assert_same_tensors(ours: dict, theirs: dict):
  assert ours.keys() == theirs.keys()
  for name, x in theirs.items():
    assert ours[name].dtype == x.dtype and ours[name].shape == x.shape, name
    assert ours[name].tobytes() == x.tobytes(), name


def test_a_vqvae_checkpoint_gives_the_results_of_its_golden_file():
  golden, vqvae = Golden('vqvae_ds444'), videogpt_jax.load_vqvae(GOLDENS / 'vqvae.ckpt')
  assert vqvae.config == VQVAEConfig(8, 32, n_hiddens=16, n_res_layers=2, downsample=(4, 4, 4))
  assert (vqvae.spec.sequence_length, vqvae.spec.resolution) == (8, 32)
  codes = vqvae.encode(golden.video('in/video'))
  np.testing.assert_array_equal(codes, golden['eval/encodings'])
  assert relative_error(vqvae.decode(codes), golden.video('eval/recon')) < 1e-4


def test_a_prior_checkpoint_gives_the_results_of_its_golden_file():
  golden, gpt = Golden('gpt_uncond'), videogpt_jax.load_videogpt(GOLDENS / 'gpt_uncond.ckpt')
  assert gpt.latent_shape == (2, 8, 8)
  codes = gpt.vqvae.encode(golden.video('in/video'))
  np.testing.assert_array_equal(codes, golden['in/encodings'])
  assert relative_error(gpt.logits(codes), golden['eval/logits']) < 1e-4
  video = gpt.sample(2, temperature=0)
  assert np.abs(video - golden.video('greedy/video')).max() < 1e-3


@pytest.mark.parametrize('name', PRIORS)
def test_hyper_parameters_of_a_prior_and_of_its_vqvae_are_found(name):
  golden = Golden(name)
  config, sizes = prior_of(golden), golden.config['vqvae']
  assert config.vqvae == VQVAEConfig(
    **{key: sizes[key] for key in ('embedding_dim', 'n_codes', 'n_hiddens', 'n_res_layers')},
    downsample=tuple(sizes['downsample']),
  )
  assert config.prior == PriorConfig(
    hidden_dim=48,
    n_heads=4,
    n_layers=2,
    attn_type=golden.config['attn_type'],
    # The published sparse attention ignores the argument.
    attn_dropout=0.0 if golden.config['attn_type'] == 'sparse' else 0.3,
    n_classes=golden.config['class_cond_dim'] or 0,
    n_cond_frames=golden.config['n_cond_frames'],
  )


@pytest.mark.parametrize('suffix', ['ckpt', 'safetensors'])
@pytest.mark.parametrize('name', FILES)
def test_import_then_export_gives_every_tensor_back(name, suffix, tmp_path):
  original = read_checkpoint(GOLDENS / name)
  published.write(
    tmp_path / f'x.{suffix}', published.to_checkpoint(published.load(GOLDENS / name), 'vqvae.ckpt')
  )
  read = read_checkpoint if suffix == 'ckpt' else published.read_safetensors
  exported = read(tmp_path / f'x.{suffix}')
  assert_same_tensors(exported['state_dict'], original['state_dict'])
  args, theirs = (vars(x['hyper_parameters']['args']) for x in (exported, original))
  assert {key: tuple(v) if type(v) is list else v for key, v in args.items()} == {
    key: value for key, value in theirs.items() if key != 'max_steps'
  }
  assert published.load(tmp_path / f'x.{suffix}').codes == published.load(GOLDENS / name).codes


@pytest.mark.parametrize('name', PRIORS[1:])
def test_every_kind_of_prior_is_exported_as_it_came(name):
  loaded = prior_of(Golden(name))
  exported = published.to_checkpoint(loaded)['state_dict']
  of_prior = {k: x for k, x in exported.items() if not k.startswith('vqvae.')}
  masks = {k: of_prior.pop(k) for k in list(of_prior) if k.endswith('.mask')}
  assert_same_tensors(of_prior, Golden(name).state_dict())
  assert len(masks) == (0 if name == 'gpt_sparse' else 2)
  again = published.from_checkpoint(published.to_checkpoint(loaded))
  for ours, theirs in zip(
    jax.tree.leaves((again.vqvae_state, again.prior_state)),
    jax.tree.leaves((loaded.vqvae_state, loaded.prior_state)),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)


def test_a_codebook_is_initialised_if_it_was_used():
  tree = read_checkpoint(GOLDENS / 'vqvae.ckpt')
  state = published.from_checkpoint(tree).vqvae_state
  assert state['codebook']['initialised'][...]
  tree['state_dict']['codebook.N'] = np.zeros(32, np.float32)
  state = published.from_checkpoint(tree).vqvae_state
  assert not state['codebook']['initialised'][...]


def test_step_counters_survive():
  tree = read_checkpoint(GOLDENS / 'vqvae.ckpt')
  name = 'encoder.res_stack.2.num_batches_tracked'
  tree['state_dict'][name] = np.array(12345)
  exported = published.to_checkpoint(published.from_checkpoint(tree))
  assert exported['state_dict'][name] == 12345


def random_state(create) -> nnx.State:
  """The state of a model, its arrays random."""
  rng = np.random.default_rng(0)
  abstract = nnx.state(nnx.eval_shape(create))
  return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), abstract)


def test_a_model_of_ours_is_exported_and_loads_again(tmp_path):
  vqvae = VQVAEConfig(6, 10, n_hiddens=8, n_res_layers=1, downsample=(2, 4, 4))
  prior = PriorConfig(hidden_dim=12, n_heads=2, n_layers=3, n_classes=3)
  empty = published.Published(vqvae, nnx.State({}), 4, 16, prior=prior)
  ours = dataclasses.replace(
    empty,
    vqvae_state=random_state(lambda: VQVAE(vqvae, rngs=nnx.Rngs(0))),
    prior_state=random_state(lambda: Prior(prior, empty.codes, rngs=nnx.Rngs(0))),
  )
  published.write(tmp_path / 'gpt.ckpt', published.to_checkpoint(ours, 'vqvae.ckpt'))
  loaded = published.load(tmp_path / 'gpt.ckpt')
  assert loaded.vqvae == vqvae
  assert loaded.prior == prior
  for a, b in zip(
    jax.tree.leaves((ours.vqvae_state, ours.prior_state)),
    jax.tree.leaves((loaded.vqvae_state, loaded.prior_state)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
  'replaced, rule',
  [
    ({'n_codebooks': 2}, 'n_codebooks 2'),
    ({'axial_attention': False}, 'axial_attention False'),
    ({'norm': 'channel', 'time_mask': 'causal'}, 'norm channel.*time_mask causal'),
    ({'downsample': (2, 2, 2)}, r'downsample \(2, 2, 2\)'),
  ],
)
def test_a_vqvae_that_the_published_code_has_not_is_refused(replaced, rule):
  loaded = published.load(GOLDENS / 'vqvae.ckpt')
  odd = dataclasses.replace(loaded, vqvae=dataclasses.replace(loaded.vqvae, **replaced))
  with pytest.raises(ValueError, match=rule):
    published.to_checkpoint(odd)


def test_frames_that_are_not_square_are_refused():
  config = VQVAEConfig(8, 32, n_hiddens=16, downsample=(4, 4, 4))
  wide = CodeSpec((2, 4, 8), 32, 8, sequence_length=8, resolution=(16, 32))
  with pytest.raises(UserError, match=r'frames of 16x32 .the published code has square'):
    hyper_parameters.vqvae_args(config, wide)
  square = CodeSpec((2, 8, 8), 32, 8, sequence_length=8, resolution=(32, 32))
  assert hyper_parameters.vqvae_args(config, square).resolution == 32


@pytest.mark.parametrize(
  'replaced, rule',
  [({'action_dim': 4}, 'action_dim 4'), ({'mlp_dim': 7}, 'mlp_dim 7')],
)
def test_a_prior_that_the_published_code_has_not_is_refused(replaced, rule):
  loaded = published.load(GOLDENS / 'gpt_uncond.ckpt')
  odd = dataclasses.replace(loaded, prior=dataclasses.replace(loaded.prior, **replaced))
  with pytest.raises(ValueError, match=rule):
    published.to_checkpoint(odd)


class TestBadStateDict:
  """Errors name the tensor and both shapes, whatever the tensor."""

  @pytest.fixture(params=FILES)
  def tree(self, request):
    return read_checkpoint(GOLDENS / request.param)

  def expect(self, tree, rule, path):
    write_checkpoint(path / 'x.ckpt', tree)
    with pytest.raises(ValueError, match=rule):
      published.load(path / 'x.ckpt')

  def test_any_missing_tensor(self, tree):
    names = list(tree['state_dict'])
    for name in [*names[::40], names[-1]]:
      less = {key: x for key, x in tree['state_dict'].items() if key != name}
      with pytest.raises(ValueError, match=rf'{name} is missing'):
        published.from_checkpoint(tree | {'state_dict': less})

  def test_any_wrongly_shaped_tensor(self, tree):
    for name, x in list(tree['state_dict'].items())[::23]:
      shape = (*x.shape, 1)
      wrong = tree['state_dict'] | {name: x.reshape(shape)}
      with pytest.raises(ValueError) as error:
        published.from_checkpoint(tree | {'state_dict': wrong})
      assert name in str(error.value)
      assert str(x.shape) in str(error.value) and str(shape) in str(error.value)

  def test_an_extra_tensor(self, tree, tmp_path):
    tree['state_dict']['extra.weight'] = np.zeros((2, 5), np.float32)
    self.expect(tree, r'extra\.weight \(shape \(2, 5\)\) belongs to no part', tmp_path)

  def test_arguments_that_do_not_fit(self, tree, tmp_path):
    tree['hyper_parameters']['args'].sequence_length = 7
    del tree['hyper_parameters']['args'].resolution
    self.expect(tree, r"lack 'resolution'", tmp_path)

  def test_no_state_dict(self, tree, tmp_path):
    self.expect({'model': tree['state_dict']}, r"not \['model'\]", tmp_path)

  def test_something_beside_tensors(self, tree, tmp_path):
    tree['state_dict']['extra'] = 'text'
    self.expect(tree, "'extra', a str", tmp_path)


def test_position_tables_that_do_not_divide_the_clip_are_an_error():
  tree = read_checkpoint(GOLDENS / 'gpt_uncond.ckpt')
  tree['hyper_parameters']['args'].sequence_length = 9
  with pytest.raises(ValueError, match=r'tables have \(2, 8, 8\) entries.*clip of \(9, 16, 16\)'):
    published.from_checkpoint(tree)


def test_a_mask_that_is_not_causal_is_an_error():
  tree = read_checkpoint(GOLDENS / 'gpt_uncond.ckpt')
  tree['state_dict']['attn_stack.attn_nets.1.attn.attn.mask'] = np.ones((128, 128), np.float32)
  with pytest.raises(ValueError, match=r'nets\.1\.attn\.attn\.mask is not the causal mask'):
    published.from_checkpoint(tree)


class TestWellKnownNames:
  @pytest.fixture(autouse=True)
  def home(self, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path

  @pytest.mark.parametrize('name', well_known.WELL_KNOWN)
  def test_says_where_it_belongs_and_how_to_get_it(self, name):
    with pytest.raises(FileNotFoundError, match=rf'~/\.cache/videogpt/{name} .*gdown 1'):
      published.load(name)

  def test_is_found_there(self, home):
    cache = home / '.cache' / 'videogpt'
    cache.mkdir(parents=True)
    (cache / 'bair_gpt').write_bytes((GOLDENS / 'gpt_uncond.ckpt').read_bytes())
    assert published.load('bair_gpt').codes.latent_shape == (2, 8, 8)

  def test_any_other_name_lists_those_known(self):
    with pytest.raises(FileNotFoundError, match=r'no_such_model: no such file.*bair_stride4x2x2'):
      published.load('no_such_model')


def test_safetensors_without_arguments_or_damaged_are_errors(tmp_path):
  path = tmp_path / 'x.safetensors'
  save_file({'x': np.zeros(3, np.float32)}, path)
  with pytest.raises(ValueError, match="hold no 'args'"):
    published.load(path)
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(ValueError, match='as safetensors'):
    published.load(path)


def test_a_checkpoint_of_another_kind_is_an_error():
  tree = checkpoint({'layer.weight': np.zeros((2, 2), np.float32)}, {})
  with pytest.raises(ValueError, match="arguments lack 'sequence_length'"):
    published.from_checkpoint(tree)
  tree['hyper_parameters']['args'] = argparse.Namespace(**Golden('vqvae_ds422').config)
  with pytest.raises(ValueError, match='is missing'):
    published.from_checkpoint(tree)
