"""VideoGPT (arXiv 2104.10157) in JAX: video from discrete codes."""

from videogpt_jax.api import Tokenizer, VideoGPT, load_videogpt, load_vqvae

__all__ = ['Tokenizer', 'VideoGPT', 'load_videogpt', 'load_vqvae']
__version__ = '0.1.0'
