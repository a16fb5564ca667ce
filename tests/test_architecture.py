"""Imports go downwards, and every heavy library has one owner."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path('videogpt_jax')

LAYERS = [
  {'models'},
  {'input', 'training', 'sampling', 'evaluation', 'interop', 'media'},
  {'config', 'api', 'generation', 'tokenizer', 'workdir', 'exchange'},
  {'stages'},
  {'planning'},
  {
    'main',
    'plan',
    'sample',
    'evaluate',
    'ablate',
    'encode',
    'inspect_data',
    'import_torch',
    'export_torch',
    'cli',
  },
]
"""From the bottom up; a module imports from its own layer and those below."""

OWNERS = {
  'tensorflow': {'input', 'training/tensorboard.py'},
  'tensorflow_datasets': {'input'},
  'orbax': {'training/checkpoint.py'},
  'optax': {'training/optimizer.py'},
  'clu': {'training/tensorboard.py'},
  'torch': set(),
}

MODELS_SEE = {'jax', 'flax', 'einops', 'numpy', 'videogpt_jax'}


def imports(file):
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


FILES = sorted(PACKAGE.rglob('*.py'))


def room(name):
  return name.split('.')[1] if '.' in name else '__init__'


@pytest.mark.parametrize('file', FILES, ids=str)
def test_heavy_libraries_are_imported_by_their_owners_only(file):
  here = str(file.relative_to(PACKAGE))
  for name in imports(file):
    owners = OWNERS.get(name.split('.')[0])
    assert owners is None or any(here.startswith(owner) for owner in owners), name


@pytest.mark.parametrize('file', FILES, ids=str)
def test_imports_go_downwards(file):
  level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
  own = file.relative_to(PACKAGE).parts[0].removesuffix('.py')
  if own == '__init__':
    return
  for name in imports(file):
    if name.startswith('videogpt_jax.'):
      # Names of the package itself are those of the public face.
      assert level.get(room(name), level['api']) <= level[own], name


def test_every_module_has_its_layer():
  rooms = {file.relative_to(PACKAGE).parts[0].removesuffix('.py') for file in FILES}
  assert rooms - {'__init__'} <= set().union(*LAYERS)


def test_models_see_jax_flax_and_einops_alone():
  for file in (PACKAGE / 'models').rglob('*.py'):
    heads = {name.split('.')[0] for name in imports(file)} - set(sys.stdlib_module_names)
    assert heads <= MODELS_SEE, file


def test_the_public_face_and_the_train_steps_import_no_tensorflow():
  code = (
    'import sys, videogpt_jax, videogpt_jax.workdir, videogpt_jax.training.fit, '
    'videogpt_jax.stages.train_prior, videogpt_jax.stages.sample; '
    "assert 'tensorflow' not in sys.modules, 'tensorflow'; assert 'clu' not in sys.modules, 'clu'"
  )
  subprocess.run([sys.executable, '-c', code], check=True)
