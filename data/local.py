"""Prepares shards on one machine, in one process per core. Finished shards are kept."""

import concurrent.futures
import dataclasses
import json
import math
import multiprocessing
import os
import threading
import time
import zlib
from collections.abc import Sequence

import tensorflow as tf

from data.convert import convert
from data.formats import Item, Listing, Options
from videogpt_jax.errors import UserError
from videogpt_jax.input.clips import tell_skipped
from videogpt_jax.input.shard_index import index_directory
from videogpt_jax.input.shards import MANIFEST, Manifest, load_manifest
from videogpt_jax.progress import ProgressLine

_join = tf.io.gfile.join
_JOB = 'prepare.json'  # settings that a directory of shards was begun with
_progress = None  # in a worker: number of items that all workers have finished


@dataclasses.dataclass(frozen=True)
class Job:
  """A preparation.

  Attributes:
    format_name: name of the module in data/formats.
    source: what that module reads.
    out: directory of the shards.
    options: how to store recordings.
  """

  format_name: str
  source: str
  out: str
  options: Options


def run(job: Job, listing: Listing, n_workers: int) -> Manifest:
  """Writes the shards that are missing, then the manifest.

  Raises:
    UserError: `out` holds something else, or there is no usable recording.
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
  skipped = [*listing.skipped, *(line for sign in signs for line in json.loads(_read(sign)))]
  n_broken = len(skipped) - len(listing.skipped)
  tell_skipped(job.source, skipped, len(listing.items) - n_broken)
  manifest = finish(job, listing, skipped)
  for sign in signs:
    tf.io.gfile.remove(sign)
  return manifest


def finish(job: Job, listing: Listing, skipped: Sequence[str]) -> Manifest:
  """Indexes the shards that were written, and writes the manifest."""
  made_from = {'format': job.format_name, 'source': job.source} | dataclasses.asdict(job.options)
  class_names = listing.class_names and tuple(listing.class_names)
  manifest = index_directory(
    job.out,
    class_names=class_names,
    action_names=listing.action_names and tuple(listing.action_names),
    made_from=made_from,
    skipped=tuple(skipped),
    same_size=True,
  )
  manifest.save(job.out)
  return manifest


def claim(job: Job) -> bool:
  """Claims `job.out` if it is new or was begun as the same job; returns whether work is left.

  Raises:
    UserError: it holds something else.
  """
  described = {'format_name': job.format_name, 'source': job.source}
  described |= json.loads(json.dumps(dataclasses.asdict(job.options)))
  file = _join(job.out, _JOB)
  if tf.io.gfile.exists(file):
    begun = json.loads(_read(file))
    if differing := [key for key in described if begun.get(key) != described[key]]:
      changes = ', '.join(f'{key} {begun.get(key)} (not {described[key]})' for key in differing)
      raise UserError(f'{job.out} was begun with {changes}; name another --out, or remove it')
  else:
    if tf.io.gfile.exists(job.out) and tf.io.gfile.listdir(job.out):
      raise UserError(f'{job.out} holds other files; name an empty or new --out')
    tf.io.gfile.makedirs(job.out)
    _write(file, described)
  return not tf.io.gfile.exists(_join(job.out, MANIFEST))


def _read(path) -> str:
  with tf.io.gfile.GFile(path) as file:
    return file.read()


def _write(path, value):
  """Writes JSON atomically."""
  with tf.io.gfile.GFile(f'{path}.partial', 'w') as file:
    file.write(json.dumps(value))
  tf.io.gfile.rename(f'{path}.partial', path, overwrite=True)


def _plan(listing) -> dict[str, list[Item]]:
  """Returns the items of each shard, mixed so that every shard has all classes."""
  shards = {}
  for split in ('train', 'val', 'test'):
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
  """Ends this worker with its parent, since a new run may write the same shards."""
  multiprocessing.parent_process().join()
  os._exit(1)


def _write_shard(job, name, items):
  """Writes a shard, then the list of its skipped items as the sign that it is complete."""
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
  """Waits for all tasks and shows the progress. Raises what a task raises."""
  line, begun = ProgressLine(), time.monotonic()
  pending = tasks
  while pending:
    done, pending = concurrent.futures.wait(
      tasks, timeout=0.5, return_when=concurrent.futures.FIRST_EXCEPTION
    )
    for task in done:
      task.result()
    rate = (counter.value - n_before) / (time.monotonic() - begun)
    left = f', {(n_items - counter.value) / rate:.0f} s left' if rate else ''
    line.show(f'{counter.value}/{n_items} items, {rate:.1f}/s{left}', important=not pending)
  line.close()
