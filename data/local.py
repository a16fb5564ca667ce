"""Preparation on one machine: a shard a task, a process a core, finished shards kept."""

import concurrent.futures
import dataclasses
import json
import math
import multiprocessing
import os
import sys
import threading
import time
import zlib
from collections.abc import Sequence

import tensorflow as tf

from data.convert import convert
from data.formats import Item, Listing, Options
from videogpt_jax.input.clips import tell_skipped
from videogpt_jax.input.shard_index import index_directory
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest

_join = tf.io.gfile.join
_JOB = 'prepare.json'  # what a directory of shards was begun as
_progress = None  # in a worker: how many items all of them have done


@dataclasses.dataclass(frozen=True)
class Job:
  """What is prepared.

  Attributes:
    format_name: of the module in data/formats.
    source: what that module reads.
    out: directory of the shards.
    options: how recordings are stored.
  """

  format_name: str
  source: str
  out: str
  options: Options


def run(job: Job, listing: Listing, n_workers: int) -> Manifest:
  """Writes the shards that are not there yet, then the manifest.

  Raises:
    ValueError: `out` holds something else, or there is no usable recording.
  """
  if not claim(job):
    return load_manifest(job.out)
  shards = _plan(listing)
  there = set(tf.io.gfile.listdir(job.out))
  missing = {name: items for name, items in shards.items() if f'{name}.json' not in there}
  n_done = sum(len(shards[name]) for name in shards.keys() - missing.keys())
  spawn = multiprocessing.get_context('spawn')  # TensorFlow does not survive a fork
  counter = spawn.Value('q', n_done)
  with _pool(min(n_workers, len(missing)), spawn, counter) as pool:
    tasks = [pool.submit(_write_shard, job, name, items) for name, items in missing.items()]
    try:
      _wait(tasks, counter, n_done, len(listing.items))
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise
  signs = [_join(job.out, f'{name}.json') for name in shards]
  skipped = [line for sign in signs for line in json.loads(_read(sign))]
  n_items = len(listing.items)
  tell_skipped(job.source, skipped, n_items - len(skipped))
  manifest = finish(job, listing, skipped)
  for sign in signs:
    tf.io.gfile.remove(sign)
  return manifest


def finish(job: Job, listing: Listing, skipped: Sequence[str]) -> Manifest:
  """Reads the shards that were written, for the manifest."""
  made_from = {'format': job.format_name, 'source': job.source} | dataclasses.asdict(job.options)
  class_names = listing.class_names and tuple(listing.class_names)
  manifest = index_directory(
    job.out, class_names=class_names, made_from=made_from, skipped=tuple(skipped)
  )
  manifest.save(job.out)
  return manifest


def claim(job: Job) -> bool:
  """Whether there is work to do in a directory that is new, or was begun as the same job.

  Raises:
    ValueError: it holds something else.
  """
  described = {'format_name': job.format_name, 'source': job.source}
  described |= dataclasses.asdict(job.options)
  file = _join(job.out, _JOB)
  if tf.io.gfile.exists(file):
    begun = json.loads(_read(file))
    if differing := [key for key in described if begun.get(key) != described[key]]:
      changes = ', '.join(f'{key} {begun.get(key)} (not {described[key]})' for key in differing)
      raise ValueError(f'{job.out} was begun with {changes}; name another --out, or remove it')
  else:
    if tf.io.gfile.exists(job.out) and tf.io.gfile.listdir(job.out):
      raise ValueError(f'{job.out} holds other files; name an empty or new --out')
    tf.io.gfile.makedirs(job.out)
    _write(file, described)
  return not tf.io.gfile.exists(_join(job.out, MANIFEST))


def _read(path) -> str:
  with tf.io.gfile.GFile(path) as file:
    return file.read()


def _write(path, value):
  """As JSON, at once: whoever finds the file finds it whole."""
  with tf.io.gfile.GFile(f'{path}.partial', 'w') as file:
    file.write(json.dumps(value))
  tf.io.gfile.rename(f'{path}.partial', path, overwrite=True)


def _plan(listing) -> dict[str, list[Item]]:
  """The items of each shard. Mixed, so that every shard has of all classes."""
  shards = {}
  for split in ('train', 'test'):
    items = [item for item in listing.items if item.split == split]
    items.sort(key=lambda item: (zlib.crc32(item.name.encode()), item.name))
    n = math.ceil(len(items) / listing.items_per_shard)
    shards |= {f'{split}-{i:05d}-of-{n:05d}': items[i::n] for i in range(n)}
  return shards


def _pool(n_workers, spawn, counter) -> concurrent.futures.Executor:
  if n_workers <= 1:
    return concurrent.futures.ThreadPoolExecutor(1, initializer=_start, initargs=(counter,))
  return concurrent.futures.ProcessPoolExecutor(
    n_workers, mp_context=spawn, initializer=_start_process, initargs=(counter,)
  )


def _start(counter):
  global _progress
  _progress = counter


def _start_process(counter):
  _start(counter)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with_parent():
  """A parent that was killed may be started again, and its shards written by others."""
  multiprocessing.parent_process().join()
  os._exit(1)


def _write_shard(job, name, items):
  """Writes a shard; then, as the sign that it is whole, which of its items were skipped."""
  partial, skipped = _join(job.out, f'.{name}.partial'), []
  with tf.io.TFRecordWriter(partial) as writer:
    for item in items:
      records, problem = convert(job.format_name, item, job.options)
      for record in records:
        writer.write(record)
      skipped += [problem] if problem else []
      with _progress.get_lock():
        _progress.value += 1
  tf.io.gfile.rename(partial, _join(job.out, f'{name}.tfrecord'), overwrite=True)
  _write(_join(job.out, f'{name}.json'), skipped)


def _wait(tasks, counter, n_before, n_items):
  """Until all tasks are done, with a progress bar. Raises what a task raises."""
  begun = time.monotonic()
  while True:
    done, pending = concurrent.futures.wait(
      tasks, timeout=0.5, return_when=concurrent.futures.FIRST_EXCEPTION
    )
    for task in done:
      task.result()
    rate = (counter.value - n_before) / (time.monotonic() - begun)
    left = f'{(n_items - counter.value) / rate:.0f} s left' if rate else ''
    bar = '#' * round(30 * counter.value / n_items)
    print(
      f'\r[{bar:<30}] {counter.value}/{n_items} items, {rate:.1f}/s, {left:<16}',
      end='' if pending else '\n',
      file=sys.stderr,
      flush=True,
    )
    if not pending:
      return
