"""Notebooks: equal to the text beside them, within Colab's means, and executed."""

import json
import re
from pathlib import Path

import jupytext
import nbclient
import pytest

from tests.test_main import CONFIG, call

NOTEBOOKS = sorted(Path('notebooks').glob('*.ipynb'))
LARGEST = 1_000_000
"""Bytes of a notebook with its pictures."""


def test_there_are_notebooks():
  assert [file.stem for file in NOTEBOOKS] == ['sampling']


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


@pytest.mark.slow
def test_the_sampling_notebook_runs_from_its_first_cell_to_its_last(tmp_path):
  """With a model of seconds; all settings of its forms are where Colab looks for them."""
  model = tmp_path / 'run'
  done = call('main', CONFIG, f'--workdir={model}', '--stages=vqvae,prior')
  assert done.returncode == 0, done.stderr
  notebook = jupytext.read('notebooks/sampling.py')
  form = {'MODEL': str(model), 'OUT': str(tmp_path / 'out'), 'TOP_K': 5, 'NUM_FRAMES': 8}
  for name, value in form.items():
    field = re.compile(rf'^{name} = .*?(?=  # @param)', flags=re.M)
    assert sum(len(field.findall(cell.source)) for cell in notebook.cells) == 1
    for cell in notebook.cells:
      cell.source = field.sub(f'{name} = {value!r}', cell.source)
  nbclient.NotebookClient(notebook, timeout=300).execute()
  shown = [
    output['data']['text/html']
    for cell in notebook.cells
    for output in cell.get('outputs', [])
    if 'text/html' in output.get('data', {})
  ]
  assert [re.search('aria-label="(.*?)"', html)[1] for html in shown] == [
    '8 videos of 4 frames of 16x16: 0, 1, 2, 3, 4, 5, 6, 7',
    '1 video of 8 frames of 16x16',
  ]
  assert len(list((tmp_path / 'out').glob('*.mp4'))) == 8
