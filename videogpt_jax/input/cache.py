"""Where what was found out about a data set is kept for the next run."""

import hashlib
import os
import pathlib


def cache_path(key: str) -> pathlib.Path:
  """The path for what `key` describes, below $XDG_CACHE_HOME/videogpt_jax; nothing is created."""
  home = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(home, 'videogpt_jax', hashlib.sha256(key.encode()).hexdigest()[:16])
