"""The demo with a prior of today: rotary positions, QK norm, RMS norm and SwiGLU.

At the number of parameters of configs/demo.py's, to compare the two (docs/attention.md has the
figures). Not a row of the paper.

  python -m videogpt_jax.main --config=configs/modern.py
"""

from configs import demo


def get_config():
  config = demo.get_config()
  config.name = 'modern'
  config.prior.update({'positions': 'rotary', 'qk_norm': True, 'norm': 'rms', 'mlp': 'swiglu'})
  return config
