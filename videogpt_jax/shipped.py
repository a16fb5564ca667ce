"""Where configs/, data/ and pretrained/ are: beside the package in a checkout, inside it when
installed.
"""

import pathlib
import sys

_PACKAGE = pathlib.Path(__file__).parent

_INSTALLED = _PACKAGE / 'shipped'

IS_INSTALLED = _INSTALLED.exists()
"""Whether this is an installed package, and no checkout."""

ROOT = _INSTALLED if IS_INSTALLED else _PACKAGE.parent
"""The folder that holds them."""

PREPARE = 'videogpt prepare' if IS_INSTALLED else 'python data/prepare.py'
"""The command that writes shards."""


def make_importable():
  """Lets configurations import one another, as `configs.NAME`."""
  if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def config_file(name: str) -> str:
  """Returns the file of a configuration and its argument.

  Args:
    name: such as 'bair', 'bair:published', 'scale/prior_1b', or a path. A path that is not there is
      looked for beside the package or in it.
  """
  file, colon, argument = name.partition(':')
  if not pathlib.Path(file).exists():
    for own in (ROOT / file, ROOT / 'configs' / f'{file}.py'):
      if own.is_file():
        return f'{own}{colon}{argument}'
  return name


def config_names() -> list[str]:
  """Returns the names of the configurations that run something."""
  folder = ROOT / 'configs'
  files = sorted(folder.rglob('*.py'))
  names = [file.relative_to(folder).with_suffix('').as_posix() for file in files]
  return [name for name in names if 'def get_config' in (folder / f'{name}.py').read_text()]


def model(name: str) -> pathlib.Path | None:
  """Returns the folder of a trained model that comes with the package, or None: 'doom'."""
  return ROOT / 'pretrained' / name if name in model_names() else None


def model_names() -> list[str]:
  """Returns the names of the trained models that come with the package."""
  return sorted(file.parent.name for file in (ROOT / 'pretrained').glob('*/model.safetensors'))
