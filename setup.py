"""What pyproject.toml cannot say: the wheel also has configs/, data/ and pretrained/."""

from pathlib import Path

from setuptools import find_packages, setup

MODELS = [file.parent.as_posix() for file in sorted(Path('pretrained').glob('*/model.safetensors'))]

FOLDERS = ('configs', 'configs/scale', 'data', 'data/cards', 'data/digits', 'data/formats', *MODELS)

SHIPPED = {f'videogpt_jax.shipped.{folder.replace("/", ".")}': folder for folder in FOLDERS}

OF_A_MODEL = ['*.safetensors', '*.json', 'README.md', 'samples.gif']

setup(
  packages=[*find_packages(include=['videogpt_jax*']), *SHIPPED],
  package_dir=SHIPPED,
  package_data={
    'videogpt_jax': ['py.typed'],
    'videogpt_jax.server': ['play.html'],
    'videogpt_jax.shipped.data.cards': ['*.md'],
    'videogpt_jax.shipped.data.digits': ['digits.npz', 'LICENSE', 'README.md'],
  }
  | {f'videogpt_jax.shipped.{folder.replace("/", ".")}': OF_A_MODEL for folder in MODELS},
)
