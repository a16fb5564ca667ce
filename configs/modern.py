"""The demo with a modern prior: rotary positions, QK norm, RMS norm and SwiGLU.

It has about as many parameters as that of configs/demo.py; docs/attention.md compares the two. Not
a row of the paper.

  python -m videogpt_jax.main --config=configs/modern.py
"""

from configs import demo


def get_config():
  config = demo.get_config()
  config.name = 'modern'
  config.prior.update({'positions': 'rotary', 'qk_norm': True, 'norm': 'rms', 'mlp': 'swiglu'})
  return config
