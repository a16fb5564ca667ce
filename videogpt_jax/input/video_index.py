"""What a folder of videos holds: every file decoded once, the outcome kept for the next run."""

import concurrent.futures
import contextlib
import functools
import json
import logging
import os
import pathlib
import random
import sys
from collections.abc import Sequence

import numpy as np

from videogpt_jax.input.cache import cache_path
from videogpt_jax.input.video_file import BrokenVideoError, Recording, scan
from videogpt_jax.input.video_folder import list_videos

_log = logging.getLogger(__name__)
_KEEP_EVERY = 128  # files


@functools.lru_cache(maxsize=8)
def index(root: pathlib.Path) -> dict[str, Recording | str]:
  """The recording in each video file below a folder, by relative path, or why there is none.

  Decodes in one thread a core. What it finds is kept in $XDG_CACHE_HOME/videogpt_jax by path, size
  and time of change, so that the next run decodes new files only. It is kept as it comes: an
  interrupted run goes on, and hosts that share the cache share the work.
  """
  keys = {_key(root, name): name for name in list_videos(root)}
  cache_file = cache_path(str(root.resolve())).with_suffix('.jsonl')
  known, place = _load(cache_file)
  if n_new := len(keys.keys() - known.keys()):
    _log.info('Decoding %d videos in %s once, to see what they hold', n_new, root)
  while new := sorted(keys.keys() - known.keys()):
    some = random.sample(new, min(len(new), _KEEP_EVERY))  # hosts seldom choose the same
    found = dict(zip(some, _scan_all([root / keys[key] for key in some]), strict=True))
    _keep(cache_file, found)
    others, place = _load(cache_file, place)
    known |= others | found
    _tell(len(keys.keys() & known.keys()), len(keys))
  return {name: _unpack(known[key]) for key, name in keys.items()}


def _key(root, name):
  stat = (root / name).stat()
  return f'{name}:{stat.st_size}:{stat.st_mtime_ns}'


def _scan_all(paths: Sequence[pathlib.Path]) -> list[dict | str]:
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    return list(pool.map(_scan, paths))


def _tell(n_done, n):
  if n > _KEEP_EVERY:
    end = '\n' if n_done == n else ''
    print(f'\r{n_done}/{n} videos', end=end, file=sys.stderr, flush=True)


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


def _load(file, place=0) -> tuple[dict, int]:
  """What a cache file holds from byte `place` on, and where it ends. A torn line is left out."""
  try:
    with file.open('rb') as stream:
      stream.seek(place)
      content = stream.read()
  except OSError:
    return {}, place
  content = content[: content.rfind(b'\n') + 1]
  known = {}
  for line in content.splitlines():
    with contextlib.suppress(ValueError):
      known |= json.loads(line)
  return known, place + len(content)


def _keep(file, found):
  """Appends, for several processes may share the cache; a read-only home goes without."""
  lines = [json.dumps({key: outcome}) for key, outcome in found.items()]
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as stream:
      stream.write('\n'.join(['', *lines, '']))  # whatever an interrupted one left
  except OSError as error:
    _log.info('What the videos hold is not kept for the next run: %s', error)
