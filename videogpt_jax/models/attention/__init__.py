"""Attention: one function for the prior with a kernel for each platform, and axial attention."""

from videogpt_jax.models.attention.dispatch import BACKENDS, attention, check_backend, choose
from videogpt_jax.models.attention.dropout import Dropout, make_dropout
from videogpt_jax.models.attention.masks import CausalMask, strided_mask, window_mask

__all__ = [
  'BACKENDS',
  'CausalMask',
  'Dropout',
  'attention',
  'check_backend',
  'choose',
  'make_dropout',
  'strided_mask',
  'window_mask',
]
