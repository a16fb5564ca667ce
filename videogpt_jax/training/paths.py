"""Names of the arrays in a tree of Flax states and optimiser states."""

import jax

DISCRIMINATOR = 'discriminator'
"""The attribute of a VQ-VAE in training that holds its discriminator, and how names of its arrays
begin. Readers of the model alone leave them out."""


def name_of(path: jax.tree_util.KeyPath) -> str:
  """Returns an array's name, such as 'blocks/attn/value/kernel'.

  Flax's Variables end a path with '/value', of what holds the array. Names leave it out, so that
  checkpoints and rules do not depend on Flax's classes.
  """
  return jax.tree_util.keystr(path, simple=True, separator='/').removesuffix('/value')
