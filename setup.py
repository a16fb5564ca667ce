"""What pyproject.toml cannot say: the wheel brings configs/ and data/ inside the package."""

from setuptools import find_packages, setup

SHIPPED = {
  f'videogpt_jax.shipped.{folder.replace("/", ".")}': folder
  for folder in ('configs', 'configs/scale', 'data', 'data/digits', 'data/formats')
}

setup(
  packages=[*find_packages(include=['videogpt_jax*']), *SHIPPED],
  package_dir=SHIPPED,
  package_data={
    'videogpt_jax': ['py.typed'],
    'videogpt_jax.server': ['play.html'],
    'videogpt_jax.shipped.data.digits': ['digits.npz', 'LICENSE', 'README.md'],
  },
)
