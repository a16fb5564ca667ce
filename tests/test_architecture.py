"""Imports go downwards, and every heavy library has one owner."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path('videogpt_jax')

ROOMS = [
  *('errors', 'typed', 'files', 'archive', 'numpy_file', 'progress', 'pixels', 'page'),
  *('framing', 'resize', 'machine', 'shipped', 'optional'),
  'models',
  *('media', 'training', 'sampling', 'input', 'interop', 'evaluation'),
  *('programs', 'streaming', 'tiling', 'tokenizer', 'generation', 'world'),
  *('readers', 'videogpt', 'show'),
  *('starts', 'config', 'memory', 'drift', 'workdir'),
  *('model_folder', 'hub', 'loading', '__init__'),
  *('stages', 'exchange', 'card', 'bundle', 'planning', 'environment', 'server'),
  'notebook',
  'cli',
  *('main', 'sample', 'evaluate', 'ablate', 'encode', 'inspect_data', 'plan', 'play', 'app'),
  *('import_torch', 'export', 'export_torch', 'command', '__main__'),
]
"""From the bottom up: a room imports from itself and from those above it in this list."""

OWNERS = {
  'tensorflow': {'input', 'training/tensorboard.py'},
  'tensorflow_datasets': {'input'},
  'orbax': {'training/checkpoint.py', 'training/checkpoint_format.py', 'training/damage.py'},
  'optax': {'training/optimizer.py'},
  'clu': {'training/tensorboard.py'},
  'torch': set(),
  'pyarrow': {'input/layouts/parquet.py'},
  'wandb': {'training/trackers/wandb.py'},
  'mlflow': {'training/trackers/mlflow.py'},
  'trackio': {'training/trackers/trackio.py'},
  'starlette': {'server'},
  'uvicorn': {'server/web.py'},
  'gradio': {'server/sampling_page.py'},
  'gymnasium': {'environment.py'},
  'huggingface_hub': {'hub.py'},
  'IPython': {'notebook.py'},
}

MODELS_SEE = {'jax', 'flax', 'einops', 'numpy', 'videogpt_jax'}


def imports(file):
  """Yields every name that a file imports, in functions and under TYPE_CHECKING too."""
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


FILES = sorted(PACKAGE.rglob('*.py'))
MODULES = {
  '.'.join(file.with_suffix('').parts).removesuffix('.__init__'): file
  for file in FILES
  if file.parent != PACKAGE or file.name != '__init__.py'
}


def imported_files(file):
  """Yields the files of the package that a file imports."""
  for name in imports(file):
    if name.split('.')[0] == PACKAGE.name:
      found = (m for m in (name, name.rpartition('.')[0]) if m in MODULES)
      yield MODULES.get(next(found, ''), PACKAGE / '__init__.py')


def room(file):
  return file.relative_to(PACKAGE).parts[0].removesuffix('.py')


@pytest.mark.parametrize('file', FILES, ids=str)
def test_heavy_libraries_are_imported_by_their_owners_only(file):
  here = str(file.relative_to(PACKAGE))
  for name in imports(file):
    owners = OWNERS.get(name.split('.')[0])
    assert owners is None or any(here.startswith(owner) for owner in owners), name


@pytest.mark.parametrize('file', FILES, ids=str)
def test_imports_go_downwards(file):
  for other in imported_files(file):
    assert ROOMS.index(room(other)) <= ROOMS.index(room(file)), other


def test_no_file_imports_itself_by_way_of_others():
  graph = {file: set(imported_files(file)) - {file} for file in FILES}
  list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the files


def test_every_file_has_its_room():
  assert {room(file) for file in FILES} == set(ROOMS)


def test_models_see_jax_flax_and_einops_alone():
  for file in (PACKAGE / 'models').rglob('*.py'):
    heads = {name.split('.')[0] for name in imports(file)} - set(sys.stdlib_module_names)
    assert heads <= MODELS_SEE, file


def test_the_public_face_and_the_train_steps_import_no_tensorflow():
  code = (
    'import sys, videogpt_jax, videogpt_jax.workdir, videogpt_jax.training.fit, '
    'videogpt_jax.stages.train_prior, videogpt_jax.stages.draw; '
    "assert 'tensorflow' not in sys.modules, 'tensorflow'; assert 'clu' not in sys.modules, 'clu'"
  )
  subprocess.run([sys.executable, '-c', code], check=True)


OURS = {'videogpt_jax', 'tests', 'benchmarks', 'configs', 'data'}

PRIVATE_IN_TEXT = re.compile(r'\b(jax|jaxlib|flax|orbax|etils|tensorflow|optax)(\.\w+)*\._[a-z]')


def is_private(name):
  return any(part.startswith('_') and not part.startswith('__') for part in name.split('.'))


def foreign_private_parts(source):
  """Yields what a file names of the private parts of other libraries, in code or in strings."""
  tree = ast.parse(source)
  foreign = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import | ast.ImportFrom):
      module = getattr(node, 'module', None)
      for alias in node.names:
        name = f'{module}.{alias.name}' if module else alias.name
        if name.split('.')[0] not in OURS | set(sys.stdlib_module_names):
          foreign.add(alias.asname or alias.name.split('.')[0])
          if is_private(name):
            yield name

  def is_foreign(node):
    return ast.unparse(node).split('.')[0] in foreign

  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and is_private(node.attr) and is_foreign(node):
      yield ast.unparse(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield from (found.group() for found in PRIVATE_IN_TEXT.finditer(node.value))
    elif isinstance(node, ast.Call) and len(node.args) > 1 and is_foreign(node.args[0]):
      name = getattr(node.args[1], 'value', '')  # setattr(module, '_name', ...)
      if isinstance(name, str) and is_private(name):
        yield f'{ast.unparse(node.args[0])}.{name}'


@pytest.mark.parametrize(
  'file', [file for top in sorted(OURS) for file in Path(top).rglob('*.py')], ids=str
)
def test_no_private_part_of_another_library_is_used_or_patched(file):
  if file != Path('tests/test_architecture.py'):
    assert list(foreign_private_parts(file.read_text())) == []


def test_private_parts_are_found_however_they_are_named():
  for source in (
    'from jax._src import xla_bridge',
    'import jax\ndef f():\n  jax._src.version',
    'from etils.epath import gpath as g\npatch.setattr(g, "_is_tf_installed", None)',
    'patch.setattr("jax._src.cudnn.x", None)',
    'patch.setitem(gpath, 1)\nfrom etils.epath import gpath\ngpath._PREFIX["gs"] = 1',
  ):
    assert len(list(foreign_private_parts(source))) == 1, source
  assert not list(foreign_private_parts('import os\nfrom videogpt_jax import x\nos._exit, x._y'))


WRITTEN = [Path('README.md'), Path('CHANGELOG.md'), *sorted(Path('docs').glob('*.md'))]
WRITTEN += [file for top in sorted(OURS - {'tests'}) for file in Path(top).rglob('*.py')]


@pytest.mark.parametrize('file', WRITTEN, ids=str)
def test_no_sentence_begins_with_of_or_whom(file):
  """In pages, docstrings, comments and messages: the subject comes first."""
  assert re.findall(r'\b(?:Of|Whom)\b.*', file.read_text()) == []
