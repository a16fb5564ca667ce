"""What a folder of videos holds: every file decoded once, the outcome kept for the next run."""

import concurrent.futures
import functools
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from absl import logging

from videogpt_jax.input.cache import cache_path
from videogpt_jax.input.video_file import BrokenVideoError, Recording, scan
from videogpt_jax.input.video_folder import list_videos


@functools.lru_cache(maxsize=8)
def index(root: pathlib.Path) -> dict[str, Recording | str]:
  """The recording in each video file below a folder, by relative path, or why there is none.

  Decodes in one thread a core. What it finds is kept in $XDG_CACHE_HOME/videogpt_jax by path, size
  and time of change, so that the next run decodes new files only.
  """
  names = list_videos(root)
  cache_file = cache_path(str(root.resolve()))
  known = _load(cache_file)
  keys = [_key(root, name) for name in names]
  new = [(key, name) for key, name in zip(keys, names, strict=True) if key not in known]
  if new:
    logging.info('Decoding %d videos in %s once, to see what they hold', len(new), root)
    found = _scan_all([root / name for _, name in new])
    known |= {key: outcome for (key, _), outcome in zip(new, found, strict=True)}
    _save(cache_file, {key: known[key] for key in keys})
  return {name: _unpack(known[key]) for key, name in zip(keys, names, strict=True)}


def _key(root, name):
  stat = (root / name).stat()
  return f'{name}:{stat.st_size}:{stat.st_mtime_ns}'


def _scan_all(paths: Sequence[pathlib.Path]) -> list[dict | str]:
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    outcomes = []
    for outcome in pool.map(_scan, paths):
      outcomes.append(outcome)
      if len(outcomes) % 100 == 0:
        print(f'\r{len(outcomes)}/{len(paths)} videos', end='', file=sys.stderr, flush=True)
  if len(paths) >= 100:
    print(file=sys.stderr)
  return outcomes


def _scan(path):
  try:
    recording = scan(path)
  except BrokenVideoError as error:
    return str(error)
  return {
    'stamps': recording.stamps.tolist(),
    'tick': recording.tick,
    'seekable': recording.seekable,
  }


def _unpack(outcome):
  if isinstance(outcome, str):
    return outcome
  stamps = np.array(outcome['stamps'], np.int64)
  return Recording(stamps, outcome['tick'], outcome['seekable'])


def _load(file):
  try:
    return json.loads(file.read_text())
  except (OSError, ValueError):
    return {}


def _save(file, known):
  """Atomically, for several processes may share the cache; a read-only home goes without."""
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f'.{os.getpid()}')
    partial.write_text(json.dumps(known))
    partial.replace(file)
  except OSError as error:
    logging.info('What the videos hold is not kept for the next run: %s', error)
