"""Checkpoints of a stage, by Orbax: sharded, asynchronous, restored onto any mesh."""

import contextlib
import dataclasses
import errno
import functools
import logging
import math
import os
import shutil
import time

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils.epath import Path
from flax import nnx
from jax.sharding import Mesh, SingleDeviceSharding

from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.training import distributed, failures
from videogpt_jax.training.checkpoint_format import (
  FORMAT,
  about,
  holds,
  is_good,
  items_of,
  nonempty,
  read_items,
  sums_of,
  to_save,
)
from videogpt_jax.training.config import KEEP
from videogpt_jax.training.damage import newest_readable
from videogpt_jax.training.sharding import shardings
from videogpt_jax.training.step import TrainState

log = logging.getLogger(__name__)

REOPENING = (1.0, 5.0, 25.0)
"""Seconds after which a folder is tried again that cannot be opened after a failed write."""


class Checkpoints:
  """The checkpoints of one stage in a folder.

  Parameters, variables, their averages, and the optimiser state are separate items, so that
  sampling does not read the optimiser state.
  """

  def __init__(self, directory: Path | str, keep: int = KEEP):
    self.directory, self.keep = _absolute(directory), keep
    self._written: int | None = None  # the step whose write may not have finished
    self._unchecked: set[int] = set()
    self._failed = False  # whether a write has
    self._folder: int | None = None  # its file descriptor, but for a bucket
    self._quiet = failures.quiet('orbax')
    self._open()

  def _open(self):
    options = ocp.CheckpointManagerOptions(
      preservation_policy=_LatestAndGood(self.keep, self._unchecked),
      enable_async_checkpointing=True,
      # In the background, what fails to make a folder leaves threads that wait for it for minutes.
      async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
      cleanup_tmp_directories=True,
    )
    self.manager = ocp.CheckpointManager(self.directory, options=options)
    self._close_folder()
    if '://' not in self.directory:
      # Held open, so that no later folder gets the number by which this one is known.
      self._folder = os.open(self.directory, os.O_RDONLY)

  def _close_folder(self):
    folder, self._folder = self._folder, None
    if folder is not None:
      os.close(folder)

  def _is_removed(self) -> bool:
    """Whether the folder is gone, even if there is a later one of its name."""
    if self._folder is None:
      return False
    try:
      return not os.path.samestat(os.stat(self.directory), os.fstat(self._folder))
    except FileNotFoundError:
      return True

  @functools.cached_property
  def loss(self) -> float:
    """What the newest checkpoint was saved with; infinite without any."""
    return self._newest('loss', math.inf)

  @functools.cached_property
  def rate_scale(self) -> float:
    """What learning rates are multiplied by since training went back; saved with each state."""
    return self._newest('rate_scale', 1.0)

  def _newest(self, name: str, default: float) -> float:
    step = self.manager.latest_step()
    return default if step is None else about(self.manager, step).get(name, default)

  def __enter__(self) -> 'Checkpoints':
    self._quiet.__enter__()
    for step in self.manager.all_steps():
      if not is_good(self.manager, step):
        self._unchecked.add(step)
    return self

  def __exit__(self, *exception):
    self.settle()
    self.manager.close()
    if self._failed:
      failures.settle()
    self._close_folder()
    self._quiet.__exit__(None, None, None)

  def latest_step(self) -> int | None:
    """Returns the step of the newest complete checkpoint, or None."""
    return self.manager.latest_step()

  def is_scored(self, step: int) -> bool:
    """Whether there is a checkpoint of this step, and its evaluation was finite."""
    return step in self.manager.all_steps() and step not in self._unchecked

  def newest(self) -> str:
    """Returns the folder of the newest complete checkpoint, or 'none' where there is none."""
    step = self.manager.latest_step()
    return 'none' if step is None else os.path.join(self.directory, str(step))

  def save(self, state: TrainState, loss: float | None = None, good: bool = True):
    """Writes `state` in the background, after waiting for the previous write.

    A write that fails is reported in one line; it does not stop training or later writes.

    Args:
      state: after some step.
      loss: written with it, see the attribute.
      good: whether its evaluation was finite; the newest such checkpoint is always kept. One that
        is takes the place of one of the same step that is not.
    Raises:
      UserError: the folder has been removed since it was opened.
    """
    if self._is_removed():
      raise UserError(
        f'{self.directory} has been removed, and what was trained with it; train anew in another '
        '--workdir'
      )
    self.settle()
    step = int(state.step)
    if step == self.manager.latest_step():
      if not good or step not in self._unchecked:
        return
      self.manager.delete(step)
      self._unchecked.discard(step)
    items = {name: to_save(tree) for name, tree in items_of(state).items()}
    sums = {name: sums_of(tree) for name, tree in items_of(state).items()}
    written = {'version': FORMAT, 'sums': sums}
    if loss is not None:
      self.loss = written['loss'] = loss
    if self.rate_scale != 1:
      written['rate_scale'] = self.rate_scale
    if not good:
      written['good'] = False
      self._unchecked.add(step)
    args = ocp.args.Composite(**items, format=ocp.args.JsonSave(written))
    self._written = step
    try:
      self._check_space(state)
      self.manager.save(step, args=args, force=True)
    except Exception as error:
      self._report(error)

  def _check_space(self, state: TrainState):
    """Refuses a write for which the disk has no room, since a full disk harms other programs too.

    All processes decide alike, as the first one does. A bucket has room.
    """
    if '://' in self.directory:
      return
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    free = shutil.disk_usage(self.directory).free
    if not distributed.from_first(free >= needed):
      raise OSError(errno.ENOSPC, f'{free >> 20} MiB are free, it takes up to {needed >> 20} MiB')

  def settle(self) -> bool:
    """Waits for the last write; returns whether it is there, after a warning if it is not."""
    try:
      self.manager.wait_until_finished()
    except Exception as error:
      self._report(error)
      return False
    self._written = None
    return True

  def _report(self, error: Exception):
    """Opens the folder anew, so that the manager forgets the step that it counts as saved."""
    step, self._written, self._failed = self._written, None, True
    newest = self.newest()
    failures.settle()
    with contextlib.suppress(Exception):
      self.manager.close()
    reason = ' '.join(str(error).split())[:200]
    told = f'checkpoint {step} of {self.directory} could not be written ({reason}); the last good '
    for pause in (*REOPENING, None):
      try:
        self._open()
        break
      except Exception as error:  # of any file system
        if pause is None:
          why = ' '.join(str(error).split())[:200]
          raise UserError(f'{told}one is {newest}; the folder cannot be opened ({why})') from error
        time.sleep(pause)
    failures.settle()  # what cleans up in the new one
    log.warning('%sone is %s', told, self.newest())

  def forget_after_good(self):
    """Deletes the checkpoints after the newest whose evaluation was finite."""
    self.settle()
    for step in sorted(self.manager.all_steps(), reverse=True):
      if is_good(self.manager, step):
        break
      self.manager.delete(step)

  def restore(self, like: TrainState) -> TrainState:
    """Returns the newest checkpoint that can be read; damaged ones are set aside with a warning.

    Args:
      like: arrays of the same shapes, or their shapes with shardings. Averaged variables that the
        checkpoint lacks start from the newest ones.
    Raises:
      UserError: a newer version of this package wrote the checkpoint, or none can be read.
    """
    return newest_readable(self.manager, functools.partial(self._restore, like))

  def _restore(self, like: TrainState, step: int) -> TrainState:
    items = items_of(like)
    if not holds(self.manager, step, 'ema_variables'):
      items.pop('ema_variables', None)
    found = read_items(self.manager, step, items)
    variables = found.get('variables', like.variables)
    averaged = found.get('ema_variables')
    if averaged is None and like.ema_variables is not None:
      averaged = jax.tree.map(jnp.copy, variables)
    return TrainState(
      **found['training'],
      params=found['params'],
      variables=variables,
      ema_params=found.get('ema_params'),
      ema_variables=averaged,
    )


def latest_step(directory: Path | str) -> int | None:
  """Returns the step of the newest complete checkpoint in a folder, or None."""
  with _reader(directory) as manager:
    return manager.latest_step()


def is_scored(directory: Path | str) -> bool:
  """Whether there is a checkpoint, and the newest one's evaluation was finite."""
  with _reader(directory) as manager:
    step = manager.latest_step()
    return step is not None and is_good(manager, step)


def restore_model(
  directory: Path | str, params: nnx.State, variables: nnx.State, mesh: Mesh | None = None
) -> tuple[nnx.State, nnx.State]:
  """Returns the newest model's parameters and variables, averaged if averages were kept.

  Args:
    directory: folder of a stage's checkpoints.
    params, variables: shapes of the model's states (`Stage.abstract`).
    mesh: devices to shard the model over; each reads only its part. By default one device holds
      everything.
  Raises:
    UserFileError: there is no checkpoint.
    UserError: a newer version of this package wrote it.
  """
  likes = {'params': params, 'variables': variables}

  def read(step: int) -> tuple[nnx.State, nnx.State]:
    averaged = {name: f'ema_{name}' for name in likes if holds(manager, step, f'ema_{name}')}
    wanted = {averaged.get(name, name): _sharded(tree, mesh) for name, tree in likes.items()}
    found = read_items(manager, step, nonempty(wanted))
    return tuple(found.get(averaged.get(name, name), tree) for name, tree in likes.items())

  with _reader(directory) as manager:
    if manager.latest_step() is None:
      raise UserFileError(f'no checkpoint in {directory}; train that stage first')
    return newest_readable(manager, read)


@dataclasses.dataclass
class _LatestAndGood:
  """Orbax's policy to keep the newest `n` checkpoints and the newest that is not `unchecked`."""

  n: int
  unchecked: set[int]

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    steps = [info.step for info in checkpoints]
    good = max((step for step in steps if step not in self.unchecked), default=None)
    return [step == good or step in steps[-self.n :] for step in steps]


def _reader(directory: Path | str) -> ocp.CheckpointManager:
  """Opens a folder for reading, without a background thread that tidies up."""
  options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
  # Orbax warns of each read-only folder, although a reader is all that is asked for.
  orbax_log, no_warning = logging.getLogger('absl'), lambda record: record.levelno > logging.WARNING
  orbax_log.addFilter(no_warning)
  try:
    return ocp.CheckpointManager(_absolute(directory), options=options)
  finally:
    orbax_log.removeFilter(no_warning)


def _sharded(shapes, mesh: Mesh | None):
  """Returns shapes with shardings: on a mesh, or on one local device."""
  one = SingleDeviceSharding(jax.local_devices()[0])
  where = jax.tree.map(lambda _: one, shapes) if mesh is None else shardings(shapes, mesh)
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes, where
  )


def _absolute(directory: Path | str) -> str:
  """Returns the absolute path, which Orbax needs; a bucket's address is absolute already."""
  return str(directory) if '://' in str(directory) else os.path.abspath(directory)
