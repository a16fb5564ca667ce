"""The demo with a modern prior that predicts masked codes and decodes a clip in 12 passes.

docs/sampling.md says how. Not a row of the paper.

  python -m videogpt_jax.main --config=configs/masked.py
"""

from configs import modern


def get_config():
  config = modern.get_config()
  config.name = 'masked'
  config.prior.target = 'masked'
  return config
