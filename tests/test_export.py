"""What export writes of a run, of a file or of another export, and what it refuses."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import videogpt_jax
from tests import untrained
from tests.goldens.golden import HERE as GOLDENS
from tests.test_cli import TINY, call, error_line
from videogpt_jax import bundle, card, exchange, loading, model_folder, workdir
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.evaluation import record
from videogpt_jax.evaluation.scoring import Estimate
from videogpt_jax.files import write_json
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.stages import init_from
from videogpt_jax.training.history import History
from videogpt_jax.training.logging import record_metrics


def export(path, out, said=None, **options):
  say = (lambda line: None) if said is None else said.append
  return bundle.export(str(path), out, bundle.Options(**options), say)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A workdir that knows its classes and its frame rate."""
  path = tmp_path_factory.mktemp('runs') / 'run'
  untrained.make_workdir(path, untrained.experiment())
  workdir.write_names(path, 'classes', [f'digit {i}' for i in range(10)])
  workdir.write_frame_rate(path, 7.5)
  return path


@pytest.fixture(scope='module')
def exported(run):
  export(run, run.parent / 'exported')
  return run.parent / 'exported'


@pytest.fixture(scope='module')
def of_noise(tmp_path_factory):
  """A tokenizer's workdir whose data set is noise and whose configuration names a folder."""
  folder = tmp_path_factory.mktemp('noise')
  noise = DatasetConfig('random', resolution=16, sequence_length=4)
  of = dataclasses.replace(untrained.experiment(noise), prior_codes=str(folder / 'codes'))
  untrained.make_workdir(folder / 'run', of, with_prior=False)
  export(folder / 'run', folder / 'out')
  return folder / 'run'


def test_every_bit_of_a_run_comes_back(run, exported):
  ours, theirs = videogpt_jax.load_videogpt(run), videogpt_jax.load_videogpt(exported)
  assert theirs.digest == ours.digest
  for name in ('config', 'class_names', 'cut', 'latent_shape'):
    assert getattr(theirs, name) == getattr(ours, name)
  assert theirs.cut.frame_rate == 7.5 and theirs.classes[3] == 'digit 3'


def test_every_kind_of_model_is_a_source(exported, tmp_path):
  untrained.make_workdir(tmp_path / 'vqvae', untrained.experiment(), with_prior=False)
  for name, place in {
    'tokenizer': tmp_path / 'vqvae',
    'published': GOLDENS / 'gpt_uncond.ckpt',
    'again': exported,
  }.items():
    export(place, tmp_path / name)
    found, same = (loading.load_model(path) for path in (tmp_path / name, place))
    assert type(found) is type(same) and found.digest == same.digest
    assert found.digest == loading.load_model(tmp_path / name / model_folder.WEIGHTS).digest
    tokenizer = videogpt_jax.load_vqvae(tmp_path / name)
    assert tokenizer.digest == getattr(found, 'vqvae', found).digest
  with pytest.raises(UserError, match='holds only a VQ-VAE'):
    videogpt_jax.load_videogpt(tmp_path / 'tokenizer')
  again = json.loads((tmp_path / 'again' / 'train_config.json').read_text())
  assert again == json.loads((exported / 'train_config.json').read_text())


def test_an_export_is_what_training_begins_with_and_what_import_and_export_torch_read(
  run, exported, tmp_path
):
  shapes, config = loading.load_shapes(exported, 'prior')
  assert config == videogpt_jax.load_videogpt(run).config
  names = init_from.arrays_of(shapes.state)
  assert names.keys() == init_from.arrays_of(loading.load_shapes(run, 'prior')[0].state).keys()
  untrained.make_workdir(tmp_path / 'plain', untrained.experiment(n_classes=0), with_prior=False)
  export(tmp_path / 'plain', tmp_path / 'folder')
  for place in ('plain', 'folder'):
    exchange.export_model(tmp_path / place, tmp_path / f'torch_{place}')
  ours, theirs = (load_file(tmp_path / f'torch_{x}/vqvae.safetensors') for x in ('plain', 'folder'))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  found = exchange.read(exported / model_folder.WEIGHTS)
  assert found.prior is not None and found.sequence_length == 4


def test_the_configuration_of_training_names_no_folder_of_this_machine(of_noise):
  told = (of_noise.parent / 'out' / 'train_config.json').read_text()
  assert str(of_noise.parent) not in told and json.loads(told)['prior_codes'] == 'codes'
  assert json.loads(told)['vqvae'] == json.loads((of_noise / 'config.json').read_text())['vqvae']


def test_an_export_of_an_export_keeps_what_its_card_tells(run, tmp_path):
  record_metrics(run, {'reconstruction_psnr': 23.5})
  export(run, tmp_path / 'first', licence='mit')
  export(tmp_path / 'first', tmp_path / 'second', dtype='bfloat16')
  first, second = (
    card.carried((tmp_path / n / 'README.md').read_text()) for n in ('first', 'second')
  )
  assert first[0] == second[0] == 'mit' and set(first[1]) == {'Data', 'Training', 'Scores'}
  rounded = '\n\nThe scores are those of the float32 weights; these are rounded to bfloat16.'
  assert second[1] == first[1] | {'Scores': first[1]['Scores'] + rounded}
  assert 'reconstruction_psnr | 23.5' in second[1]['Scores'] and '## Limits' not in str(second)
  (tmp_path / 'data').write_text('Mine.')
  export(tmp_path / 'second', tmp_path / 'third', data=str(tmp_path / 'data'), licence='cc0-1.0')
  third = card.carried((tmp_path / 'third' / 'README.md').read_text())
  assert third == ('cc0-1.0', second[1] | {'Data': 'Mine.'})


def test_the_card_tells_data_training_scores_and_licence(run, tmp_path):
  run = shutil.copytree(run, tmp_path / 'run')
  history = History(run / 'prior')
  history.devices = '1 x TPU v9'
  history.save()
  write_json(run / 'prior' / 'times.json', {'reached': 4, 'seconds': {'steps': 3723.0}})
  record_metrics(run, {'reconstruction_psnr': 23.5, 'prior_goodput': 0.9})
  scores = {'fvd': 100.25, 'fvd_star': 50.0}
  write_json(
    run / 'evaluation.json',
    {
      'model': videogpt_jax.load_videogpt(run).digest,
      'scores': scores,
      'intervals': {'fvd': [90.0, 110.0]},
      'protocol': {'name': 'videogpt', 'n_clips': 256},
      'seed': 0,
      'trained_on': ['fvd_star'],
    },
  )
  (run / 'samples.gif').write_bytes(b'GIF89a')
  files = export(run, tmp_path / 'out', dtype='bfloat16', licence='mit')
  assert {file.name for file in files} == set(model_folder.FILES) - {model_folder.STARTS}
  card = (tmp_path / 'out' / 'README.md').read_text()
  assert card.startswith('---\nlicense: mit\nlibrary_name: videogpt_jax\ntags:\n- ')
  for text in (
    '# tiny\n',
    '![Generated videos](samples.gif)',
    'Creative Commons Attribution 4.0',
    '| prior | 4 | 8 | 1 x TPU v9 | 1:02:03 |',
    '| fvd | 100.2 | 90 to 110 | samples against held-out clips, I3D logits |',
    '| reconstruction_psnr | 23.5 |',
    'Protocol videogpt: 256 held-out clips, seed 0.',
    'not comparable: fvd_star',
    'rounded to bfloat16',
    'digit 3',
    'Weights: mit.',
  ):
    assert text in card
  assert 'goodput' not in card


def test_scores_of_other_weights_are_not_in_the_card(run, tmp_path):
  run, said = shutil.copytree(run, tmp_path / 'run'), []
  found = {'model': 'another', 'scores': {'fvd': 100.0}, 'intervals': {}}
  write_json(run / 'evaluation.json', found)
  record_metrics(run, {'fvd': 100.0, 'reconstruction_psnr': 23.5})
  export(run, tmp_path / 'out', said)
  card = (tmp_path / 'out' / 'README.md').read_text()
  assert '| fvd |' not in card and '| reconstruction_psnr |' in card
  assert said == ['evaluation.json is about other weights than these, and left out of the card']


def test_data_of_ones_own_have_a_text_of_ones_own(of_noise, tmp_path):
  assert 'licence is unknown' in (of_noise.parent / 'out' / 'README.md').read_text()
  (tmp_path / 'data.md').write_text('Filmed in my kitchen; CC0.')
  export(of_noise, tmp_path / 'out', data=str(tmp_path / 'data.md'))
  assert '## Data\n\nFilmed in my kitchen; CC0.' in (tmp_path / 'out' / 'README.md').read_text()
  with pytest.raises(UserFileError, match=r'--data nope\.md cannot be read'):
    export(of_noise, tmp_path / 'other', data='nope.md')


def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(run, exported, tmp_path):
  out = shutil.copytree(exported, tmp_path / 'out')
  (out / model_folder.STARTS).write_bytes(b'old')
  export(run, out)
  assert not (out / model_folder.STARTS).exists()
  before = {file: file.stat().st_mtime_ns for file in run.rglob('*')}
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'thesis.tex').touch()
  for place, message in (
    (run, 'is the folder of the model itself'),
    (tmp_path / 'mine', 'is no earlier export .*thesis.tex'),
  ):
    with pytest.raises(UserError, match=message):
      export(run, place)
  assert before == {file: file.stat().st_mtime_ns for file in run.rglob('*')}
  with pytest.raises(UserError, match='is the folder of the model itself'):
    export(exported, exported)


def test_a_score_has_its_interval(run, tmp_path):
  run = shutil.copytree(run, tmp_path / 'run')
  estimates = {'reconstruction_psnr': Estimate(20.0, None, (19.0, 21.5))}
  record_metrics(run, record.as_metrics(record.of_estimates(estimates)))
  export(run, tmp_path / 'out')
  card = (tmp_path / 'out' / 'README.md').read_text()
  assert '| reconstruction_psnr | 20 | 19 to 21.5 | dB, of held-out clips |' in card
  assert 'psnr_low' not in card


def test_the_command_exports(exported, tmp_path):
  flags = [f'--model={exported}', f'--out={tmp_path / "out"}', '--dtype=bfloat16']
  done = call('-m', 'videogpt_jax.export', *flags)
  assert done.returncode == 0, done.stderr
  size = (tmp_path / 'out' / 'model.safetensors').stat().st_size
  assert f'wrote {tmp_path / "out" / "model.safetensors"} ({size:,} bytes)' in done.stdout
  assert 'stored as bfloat16' in (tmp_path / 'out' / 'README.md').read_text()


def test_entry_points_ask_for_what_an_export_lacks(exported):
  model = f'--model={exported}'
  line = error_line(call('-m', 'videogpt_jax.export', model))
  assert line == 'error: --out or --push is missing; for example --out=exported'
  line = error_line(call('-m', 'videogpt_jax.export', model, '--push=gs://bucket/x'))
  assert line == (
    'error: gs://bucket/x is no address on the hub; write hf://OWNER/NAME, or with a revision '
    'hf://OWNER/NAME@REVISION'
  )
  line = error_line(call('-m', 'videogpt_jax.evaluate', model))
  assert 'does not state its data set; give one with --config' in line


def test_entry_points_refuse_a_truncated_file_in_one_line(exported, tmp_path):
  damaged = shutil.copytree(exported, tmp_path / 'damaged')
  whole = (damaged / model_folder.WEIGHTS).read_bytes()
  (damaged / model_folder.WEIGHTS).write_bytes(whole[:-9])
  for module, rest in (
    ('sample', [f'--out={tmp_path / "out"}']),
    ('encode', [TINY, f'--out={tmp_path / "out"}']),
  ):
    line = error_line(call('-m', f'videogpt_jax.{module}', f'--model={damaged}', *rest))
    assert f'cannot read {damaged / model_folder.WEIGHTS} as safetensors' in line
    assert not (tmp_path / 'out').exists()
