"""Damaged checkpoints: the newest readable one is used, and those after it are set aside."""

import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from etils.epath import Path

from videogpt_jax.errors import UserError
from videogpt_jax.training import failures

log = logging.getLogger(__name__)

T = TypeVar('T')

DAMAGED = '.damaged'
"""Ending of the name of a checkpoint that was set aside because it cannot be read."""


@failures.quiet('orbax')
def newest_readable(manager: ocp.CheckpointManager, read: Callable[[int], T]) -> T:
  """Returns what `read` finds in the newest step that it can read.

  Newer ones are damaged. They are set aside once an older one is read, since a fault that all
  have, such as too little memory, is not theirs.

  Raises:
    UserError: none can be read.
  """
  damaged: dict[int, Exception] = {}
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      found = read(step)
    except (UserError, MemoryError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:
      damaged[step] = error
      failures.settle()
      continue
    for bad in damaged:
      _set_aside(manager.directory / str(bad), step)
    if damaged:
      manager.reload()
    return found
  step, error = next(iter(damaged.items()))
  raise UserError(
    f'checkpoint {manager.directory / str(step)} cannot be read, and there is no good one before '
    f'it ({" ".join(str(error).split())[:200]}); restore it from a copy, or train anew'
  ) from error


def _set_aside(folder: Path, good: int):
  """Renames a damaged checkpoint, where the folder may be written to."""
  target = folder.with_name(folder.name + DAMAGED)
  with contextlib.suppress(OSError):
    if jax.process_index() == 0:
      folder.rename(target)
  log.warning(
    'checkpoint %s is damaged and set aside as %s; step %d is used', folder, target.name, good
  )
