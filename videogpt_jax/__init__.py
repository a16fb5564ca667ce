"""VideoGPT (arXiv 2104.10157) in JAX: video from discrete codes."""

from videogpt_jax.errors import UserError
from videogpt_jax.loading import load_starts, load_videogpt, load_vqvae
from videogpt_jax.machine import silence_missing_tpu
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.show import show
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.videogpt import VideoGPT

silence_missing_tpu()  # JAX has been imported, but looks for devices when it is first used

__all__ = [
  'SamplingSettings',
  'Tokenizer',
  'UserError',
  'VideoGPT',
  'load_starts',
  'load_videogpt',
  'load_vqvae',
  'show',
]
__version__ = '0.1.0'
