"""The demo with a prior that predicts masked codes and decodes a clip in 12 passes.

docs/sampling.md says how. Not a row of the paper.

  python -m videogpt_jax.main --config=configs/masked.py
"""

from configs import demo


def get_config():
  config = demo.get_config()
  config.name = 'masked'
  config.prior.update({'target': 'masked', 'attn_type': 'full', 'attn_window': 0})
  return config
