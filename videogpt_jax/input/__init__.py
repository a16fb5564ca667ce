"""Data sets as batches of clips. TensorFlow is imported with the first module that needs it."""

import importlib
import pkgutil

from videogpt_jax import optional
from videogpt_jax.input.config import DatasetConfig as DatasetConfig

_NAMES = dict.fromkeys(('DatasetInfo', 'compression', 'describe'), 'contents') | dict.fromkeys(
  ('first_test_clips', 'real_batches', 'test_batches', 'train_batches'), 'pipeline'
)
"""Names of the package, and the module that has each."""


def __getattr__(name):
  """Imports a module of this package, or takes a name from one.

  Raises:
    UserError: an optional package is missing; the message names the extra to install.
  """
  if name in _NAMES:
    return getattr(import_module(_NAMES[name]), name)
  if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return import_module(name)


def import_module(name: str):
  """Imports `videogpt_jax.input.NAME`; raises UserError where an optional package is missing."""
  try:
    return importlib.import_module(f'{__name__}.{name}')
  except ModuleNotFoundError as error:
    raise optional.explain(error) or error from None
