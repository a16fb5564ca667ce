"""Index of videos: looks at every file once and caches what it finds for the next run."""

import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import random
from collections.abc import Mapping

import numpy as np

from videogpt_jax.input import faults
from videogpt_jax.input.cache import cache_path
from videogpt_jax.input.decoders import scan
from videogpt_jax.input.film import file_of
from videogpt_jax.input.recording import BrokenRecordingError
from videogpt_jax.input.video_file import VideoFile
from videogpt_jax.progress import ProgressLine

_log = logging.getLogger(__name__)
_KEEP_EVERY = 128  # files
_FORM = 3  # of what is cached; other forms are ignored


def index(root: pathlib.Path, addresses: Mapping[str, str]) -> dict[str, VideoFile | str]:
  """Returns the recording in each video, or why there is none, by name.

  Looks at one file per core at a time. Caches the results in $XDG_CACHE_HOME/videogpt_jax by path,
  size and time of change, so that the next run looks at new files only. Writes them as they come:
  an interrupted run resumes, and hosts that share the cache share the work.

  Args:
    root: path of the data set, whose findings are cached together.
    addresses: by name, unique in the data set, the path of a file or FFmpeg's address of a part.
  """
  outcomes, keys = {}, {}
  for name, address in addresses.items():
    try:
      keys[_key(name, address)] = name
    except faults.FAULTS as error:
      outcomes[name] = faults.reason(error)
  cache_file = cache_path(str(pathlib.Path(root).resolve())).with_suffix('.jsonl')
  known, place = _load(cache_file)
  if n_new := len(keys.keys() - known.keys()):
    _log.info('Looking at %d videos in %s once', n_new, faults.printable(root))
  line = ProgressLine()
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    while new := sorted(keys.keys() - known.keys()):
      some = random.sample(new, min(len(new), _KEEP_EVERY))  # other hosts choose other ones
      found = pool.map(lambda key: _look(addresses[keys[key]], keys[key]), some)
      found = dict(zip(some, found, strict=True))
      _keep(cache_file, found)
      others, place = _load(cache_file, place)
      known |= others | found
      if len(keys) > _KEEP_EVERY:
        line.show(f'{len(keys.keys() & known.keys())}/{len(keys)} videos')
  line.close()
  return outcomes | {name: _unpack(known[key], name, addresses[name]) for key, name in keys.items()}


def _key(name, address):
  stat = os.stat(file_of(address))
  return f'{_FORM}:{name}:{stat.st_size}:{stat.st_mtime_ns}'


def _look(address, name) -> dict | str:
  try:
    video = scan(address, name, partly=True)
  except BrokenRecordingError as error:
    return str(error)
  return {
    'stamps': video.stamps.tolist(),
    'keys': video.keys.tolist(),
    'tick': video.tick,
    'size': video.size,
    'interlaced': video.interlaced,
    'fault': video.fault,
    'remarks': video.remarks,
  }


def _unpack(outcome, name, address):
  if isinstance(outcome, str):
    return outcome
  fields = {field: np.array(outcome[field], np.int64) for field in ('stamps', 'keys')}
  fields |= {'size': outcome['size'] and tuple(outcome['size'])}
  return VideoFile(address, name, **outcome | fields | {'remarks': tuple(outcome['remarks'])})


def _load(file, place=0) -> tuple[dict, int]:
  """Returns what a cache file holds from byte `place` on, without a torn line, and its end."""
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
  """Appends to the cache, which other processes may share. Skips a read-only home."""
  lines = [json.dumps({key: outcome}) for key, outcome in found.items()]
  try:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as stream:
      stream.write('\n'.join(['', *lines, '']))  # first ends what an interrupted process left
  except OSError as error:
    _log.info('The index of the videos cannot be cached for the next run: %s', error)
