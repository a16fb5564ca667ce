"""Notebooks: equal to the text beside them, within Colab's means, and executed."""

import dataclasses
import html
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import jupytext
import nbclient
import numpy as np
import pytest

from configs.tokenizers import CAUSAL
from tests import untrained
from tests.conftest import QUICK
from videogpt_jax import media
from videogpt_jax.input.config import DatasetConfig

NOTEBOOKS = sorted(Path('notebooks').glob('*.ipynb'))
LARGEST = 1_000_000
"""Bytes of a notebook with its pictures."""


def test_there_are_notebooks():
  assert [file.stem for file in NOTEBOOKS] == ['how_it_works', 'sampling', 'train_your_own']


@pytest.mark.parametrize('file', NOTEBOOKS, ids=str)
def test_a_notebook_is_the_text_beside_it(file):
  """If not: jupytext --update --to=notebook notebooks/NAME.py, which keeps the outputs."""
  cells = [
    [(cell.cell_type, cell.source) for cell in jupytext.read(each).cells]
    for each in (file, file.with_suffix('.py'))
  ]
  assert cells[0] == cells[1]


@pytest.mark.parametrize('file', NOTEBOOKS, ids=str)
def test_outputs_are_small_and_without_failures_and_paths_of_a_machine(file):
  assert file.stat().st_size < LARGEST
  cells = json.loads(file.read_text())['cells']
  outputs = [output for cell in cells for output in cell.get('outputs', [])]
  assert any('<video' in ''.join(o.get('data', {}).get('text/html', '')) for o in outputs)
  assert not [o for o in outputs if o['output_type'] == 'error']
  assert not re.search(r'/(root|home|tmp|work)/', json.dumps(outputs))


def test_the_install_cell_is_the_same_everywhere():
  cells = [cell.source for file in NOTEBOOKS for cell in jupytext.read(file).cells]
  install = [source for source in cells if source.startswith('# @title Install')]
  assert len(install) == len(NOTEBOOKS) and len(set(install)) == 1


@pytest.mark.parametrize(
  ('repository', 'told'),
  [
    ('', 'set REPOSITORY'),
    ('nowhere', r'could not install videogpt-jax\[train,hub.* git\+nowhere'),
  ],
)
def test_an_install_cell_that_cannot_install_says_so_in_a_line(repository, told, monkeypatch):
  [cell] = [c.source for c in filled('sampling', {'REPOSITORY': repository}).cells[1:2]]
  failed = subprocess.CompletedProcess([], 1, stdout='')
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  monkeypatch.setattr('subprocess.run', lambda *args, **options: failed)
  with pytest.raises(SystemExit, match=told):
    exec(cell, {})


def filled(name, form):
  """Returns a notebook with these values in its forms, each where Colab looks for it."""
  notebook = jupytext.read(f'notebooks/{name}.py')
  for field, value in form.items():
    line = re.compile(rf'^{field} = .*?(?=  # @param)', flags=re.M)
    assert sum(len(line.findall(cell.source)) for cell in notebook.cells) == 1, field
    for cell in notebook.cells:
      cell.source = line.sub(
        lambda _, value=value, field=field: f'{field} = {value!r}', cell.source
      )
  return notebook


def execute(notebook, folder, monkeypatch, **options):
  """Executes a notebook in a folder, and returns its outputs by the titles of their cells."""
  monkeypatch.setenv('XLA_FLAGS', QUICK)
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(Path.cwd()), str(folder)]))
  resources = {'metadata': {'path': str(folder)}}
  nbclient.NotebookClient(notebook, timeout=500, resources=resources, **options).execute()
  titles = {
    cell.source.partition('\n')[0].removeprefix('# @title '): cell for cell in notebook.cells
  }
  return {title: cell.get('outputs', []) for title, cell in titles.items()}


def texts(outputs):
  return ''.join(output.get('text', '') for output in outputs)


def of_kind(outputs, kind):
  return [output['data'][kind] for output in outputs if kind in output.get('data', {})]


def labels(outputs):
  return [re.search('aria-label="(.*?)"', x)[1] for x in of_kind(outputs, 'text/html')]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """A run of the tiny experiment, whose models are drawn at random, with a prior for guidance."""
  of = untrained.experiment(cond_dropout=0.1)
  return untrained.make_workdir(tmp_path_factory.mktemp('model') / 'run', of)


@pytest.fixture(scope='module')
def recordings(tmp_path_factory):
  """A data set with actions."""
  folder, rng = tmp_path_factory.mktemp('recordings'), np.random.default_rng(0)
  for i in range(4):
    video = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    np.savez(folder / f'{i}.npz', video=video, actions=rng.normal(size=(6, 2)))
  return DatasetConfig('folder', str(folder), resolution=16, sequence_length=4, test_fraction=0.5)


@pytest.fixture(scope='module')
def framed(recordings, tmp_path_factory):
  """A run whose prior takes a first frame and actions."""
  conditioned = {'action_dim': 2, 'n_cond_frames': 1, 'resnet_dim': 8, 'resnet_depth': 18}
  of = untrained.experiment(recordings, n_classes=0, **conditioned)
  return untrained.make_workdir(tmp_path_factory.mktemp('framed') / 'run', of)


@pytest.fixture(scope='module')
def game(recordings, tmp_path_factory):
  """A run as of configs/doom.py: a causal FSQ tokenizer, actions, a window; codes in two parts."""
  of = untrained.experiment(
    recordings,
    n_classes=0,
    action_dim=2,
    attn_type='window',
    attn_window=2,
    positions='rotary',
    norm='rms',
    mlp='swiglu',
  )
  fsq = {'quantizer': 'fsq', 'levels': (4, 4), 'n_codes': 16, 'embedding_dim': 2}
  of = dataclasses.replace(
    of,
    vqvae=dataclasses.replace(of.vqvae, **fsq, **CAUSAL),
    prior=dataclasses.replace(of.prior, n_factors=2, history=1),
  )
  return untrained.make_workdir(tmp_path_factory.mktemp('game') / 'run', of)


@pytest.mark.slow
def test_the_sampling_notebook_runs_from_its_first_cell_to_its_last(model, tmp_path, monkeypatch):
  form = {'MODEL': str(model), 'TOP_K': 5, 'GUIDANCE': 1.5, 'NUM_FRAMES': 8}
  found = execute(filled('sampling', form), tmp_path, monkeypatch)
  assert labels(found['Settings']) == ['8 videos of 4 frames of 16x16: 0, 1, 2, 3, 4, 5, 6, 7']
  assert labels(found['Continue a clip']) == ['1 video of 8 frames of 16x16']
  assert len(list((tmp_path / 'videos').glob('*.mp4'))) == 8


@pytest.mark.slow
def test_it_runs_as_it_comes_with_the_model_that_comes_along(tmp_path, monkeypatch):
  form = {'NUM': 2, 'NUM_FRAMES': 20}
  found = execute(filled('sampling', form), tmp_path, monkeypatch)
  assert 'actions: ' in texts(found['Load']) and 'MOVE_FORWARD' in texts(found['Load'])
  assert labels(found['Settings']) == ['2 videos of 16 frames of 64x64']
  assert labels(found['Continue a clip']) == ['1 video of 20 frames of 64x64']


@pytest.mark.slow
def test_it_samples_from_held_out_clips_and_with_an_action(framed, tmp_path, monkeypatch):
  form = {'MODEL': str(framed), 'NUM': 3, 'ACTION': '1', 'NUM_FRAMES': 8}
  found = execute(filled('sampling', form), tmp_path, monkeypatch)
  assert 'the prior is conditioned on: frames, actions' in texts(found['Load'])
  assert labels(found['Settings']) == ['3 videos of 4 frames of 16x16']
  assert labels(found['Continue a clip']) == ['1 video of 8 frames of 16x16']


@pytest.mark.slow
@pytest.mark.parametrize('name', ['model', 'game'])
def test_how_it_works_shows_every_part_of_any_model(name, request, tmp_path, monkeypatch):
  form = {'MODEL': str(request.getfixturevalue(name))}
  found = execute(filled('how_it_works', form), tmp_path, monkeypatch)
  for title in ('Latents', 'Codes', 'Probability of the true codes', 'Temperatures'):
    assert len(of_kind(found[title], 'image/png')) == 1, title
  assert 'codes: int32 [1, 2, 4, 4]' in texts(found['Codes'])
  assert 'of 32 positions' in texts(found['Change a code'])
  assert '32 steps and one pass' in texts(found['KV cache'])
  assert labels(found['Reconstruct']) == [
    '2 videos of 4 frames of 16x16: the clip, its reconstruction'
  ]
  [shown] = labels(found['Decode'])
  assert shown.startswith('4 videos of 4 frames of 16x16: 0: ')
  factors = {'model': '16', 'game': '4 x 4'}[name]
  assert f'for factors of {factors}\n' in texts(found['Logits'])


@pytest.mark.slow
def test_how_it_works_with_a_clip_of_ones_own(model, tmp_path, monkeypatch):
  video = np.random.default_rng(0).integers(0, 256, (9, 30, 40, 3), np.uint8)
  media.write_mp4(tmp_path / 'mine.mp4', video, 8)
  form = {'MODEL': str(model), 'CLIP': 'mine.mp4', 'TEMPERATURES': '0.5'}
  found = execute(filled('how_it_works', form), tmp_path, monkeypatch)
  assert 'mine.mp4: 40x30 resized and cropped to 16x16' in texts(found['Load'])
  assert labels(found['Load']) == ['1 video of 4 frames of 16x16']


SMALL = {'RESOLUTION': 16, 'FRAMES': 4, 'NAME': 'tiny', 'BATCH_SIZE': 4, 'NUM': 2}
SMALL |= {'VQVAE_STEPS': 2, 'PRIOR_STEPS': 2}

COLAB = """
import pathlib, shutil
output = None  # which JAX imports
class drive:
  mount = lambda place: (pathlib.Path(place) / 'MyDrive').mkdir(parents=True, exist_ok=True)
class files:
  upload = lambda: {'mine.zip': pathlib.Path('mine.zip').read_bytes()}
  download = lambda file: shutil.copy(file, 'downloaded.zip')
"""
"""A stand-in for Colab's module, with a Drive and a browser that are folders."""


def on_colab(notebook, folder):
  """Lets a notebook find the stand-in, and its Drive in `folder`."""
  (folder / 'google' / 'colab').mkdir(parents=True, exist_ok=True)
  (folder / 'google' / 'colab' / '__init__.py').write_text(COLAB)
  for cell in notebook.cells:
    cell.source = cell.source.replace('/content/drive', 'drive')
    cell.source = cell.source.replace('import sys\n', 'import sys\n\nimport google.colab\n')
  return notebook


def zip_of_videos(file):
  rng = np.random.default_rng(0)
  with zipfile.ZipFile(file, 'w') as archive:
    for i in range(12):
      video = rng.integers(0, 256, (6, 18, 20, 3), np.uint8)
      archive.writestr(f'{"cats" if i % 2 else "dogs"}/{i}.mp4', media.mp4(video, 8))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_your_own_videos_train_on_colab_and_go_on_after_a_disconnection(tmp_path, monkeypatch):
  zip_of_videos(tmp_path / 'mine.zip')
  first = filled('train_your_own', SMALL | {'UPLOAD': True, 'DOWNLOAD': True})
  found = execute(on_colab(first, tmp_path), tmp_path, monkeypatch)
  assert 'classes     2: cats, dogs' in texts(found['Look'])
  assert len(of_kind(found['Look'], 'image/png')) == 1
  _, report = of_kind(found['Train'], 'text/html')
  for piece in ('Videos drawn at the latest evaluation', '&lt;svg', 'reconstruction_psnr'):
    assert piece in report
  assert labels(found['Sample']) == ['2 videos of 4 frames of 16x16: cats, dogs']
  with zipfile.ZipFile(tmp_path / 'downloaded.zip') as archive:
    assert 'model.safetensors' in archive.namelist()

  tokenizer = tmp_path / 'drive/MyDrive/videogpt_jax/tiny/vqvae/checkpoints/2'
  trained = tokenizer.stat().st_mtime_ns
  shutil.rmtree(tmp_path / 'unpacked')  # only the Drive is left
  (tmp_path / 'mine.zip').unlink()
  later = filled('train_your_own', SMALL | {'PRIOR_STEPS': 4, 'CLASS': 'cats'})
  found = execute(on_colab(later, tmp_path), tmp_path, monkeypatch)
  _, report = of_kind(found['Train'], 'text/html')
  assert '>2 steps, ' in html.unescape(report) and '>4 steps, ' in html.unescape(report)
  assert tokenizer.stat().st_mtime_ns == trained
  assert labels(found['Sample']) == ['2 videos of 4 frames of 16x16: cats, cats']


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_without_videos_the_notebook_makes_some(tmp_path, monkeypatch):
  found = execute(filled('train_your_own', SMALL), tmp_path, monkeypatch)
  assert 'classes     10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9' in texts(found['Look'])
  assert (tmp_path / 'runs' / 'tiny_exported.zip').exists()


def test_zips_and_what_lies_beside_them_are_all_taken(tmp_path, monkeypatch):
  (tmp_path / 'mixed').mkdir()
  zip_of_videos(tmp_path / 'mixed' / 'pets.zip')
  for name in ('more/cow.mp4', 'loose.mp4'):
    (tmp_path / 'mixed' / name).parent.mkdir(exist_ok=True)
    (tmp_path / 'mixed' / name).write_bytes(b'1')
  (tmp_path / 'unpacked').mkdir()
  (tmp_path / 'unpacked' / 'old.mp4').write_bytes(b'1')
  notebook = filled('train_your_own', {'VIDEOS': 'mixed'})
  notebook.cells = notebook.cells[:4]
  found = execute(notebook, tmp_path, monkeypatch)
  assert 'videos in unpacked' in texts(found['Videos'])
  files = [file for file in (tmp_path / 'unpacked').rglob('*') if file.is_file()]
  held = sorted(file.relative_to(tmp_path / 'unpacked').as_posix() for file in files)
  assert held[:3] == ['others/loose.mp4', 'others/more/cow.mp4', 'pets/cats/1.mp4']
  assert len(held) == 14


def test_a_zip_whose_paths_climb_out_is_one_line(tmp_path, monkeypatch):
  with zipfile.ZipFile(tmp_path / 'bad.zip', 'w') as archive:
    archive.writestr('../../bad.mp4', b'1')
  notebook = filled('train_your_own', {'VIDEOS': 'bad.zip'})
  found = execute(notebook, tmp_path, monkeypatch, allow_errors=True)
  [told] = [output for output in found['Videos'] if output['output_type'] == 'error']
  assert told['traceback'] == [
    "error: bad.zip cannot be unpacked (its entry '../../bad.mp4' leads out of the folder); "
    'make the zip anew'
  ]
