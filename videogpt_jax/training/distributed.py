"""The processes of one run: how they find each other, agree, and stop when a machine is taken away.

On Cloud TPU (also on GKE) and under Slurm's srun the environment says who takes part. Elsewhere, as
in a Kubernetes job without TPUs, three variables do: JAX_COORDINATOR_ADDRESS (host:port of process
0), JAX_NUM_PROCESSES and JAX_PROCESS_ID; the JOB_COMPLETION_INDEX that Kubernetes gives an indexed
job serves for the last. Where there is nothing of the kind, the run is this one process.
"""

import glob
import importlib.util
import itertools
import os
import signal

import jax
import numpy as np
from jax.experimental import multihost_utils

EXIT_PREEMPTED = 75
"""Status of a run that saved and ended because its machine is taken away: sysexits' EX_TEMPFAIL, so
that a supervisor can tell it from a failure and start the same command again."""

ADDRESS, COUNT, INDEX = 'JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'
KUBERNETES_INDEX = 'JOB_COMPLETION_INDEX'
SLURM = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID')


class PreemptedError(Exception):
  """The machine is about to be taken away; everything is saved."""

  def __init__(self, step: int):
    super().__init__(
      f'stopped at step {step} for a preemption; the same command goes on from there'
    )


def start():
  """Joins the other processes, if there are any; to be called before anything touches a device.

  Raises:
    ValueError: the variables that name the processes are incomplete or contradictory.
    OSError: the others cannot be reached.
  """
  try:
    if ADDRESS in os.environ or COUNT in os.environ or INDEX in os.environ:
      address, count, index = _explicit()
      jax.distributed.initialize(address, count, index, cluster_detection_method='deactivate')
    elif all(name in os.environ for name in SLURM) and int(os.environ['SLURM_NTASKS']) > 1:
      jax.distributed.initialize(cluster_detection_method='slurm')
    elif _on_tpu():
      jax.distributed.initialize()
  except RuntimeError as error:
    raise OSError(f'cannot join the other processes of this run: {error}') from None


def _explicit() -> tuple[str, int, int]:
  """The coordinator's address, the number of processes and this one's, from the variables."""
  names = [ADDRESS, COUNT, INDEX if INDEX in os.environ else KUBERNETES_INDEX]
  missing = [n for n in names if n not in os.environ]
  if missing:
    raise ValueError(
      f'{ADDRESS}, {COUNT} and {INDEX} (or {KUBERNETES_INDEX}) must be set together; missing: '
      f'{", ".join(INDEX if n == KUBERNETES_INDEX else n for n in missing)}'
    )
  address, count, index = (os.environ[n] for n in names)
  if ':' not in address:
    raise ValueError(f'{ADDRESS} ({address!r}) must be host:port, such as {address}:8476')
  if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
    raise ValueError(f'{names[2]} ({index}) must be a number in [0, {COUNT} ({count}))')
  return address, int(count), int(index)


def _on_tpu() -> bool:
  """Whether this is a host of Cloud TPU: libtpu is installed and a chip is there."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  if platforms and 'tpu' not in platforms.split(','):
    return False
  chips = glob.glob('/dev/accel[0-9]*') + glob.glob('/dev/vfio/[0-9]*')
  return bool(chips) and importlib.util.find_spec('libtpu') is not None


def refuse_others(program: str):
  """Refuses an environment that names several processes, for a program that is one alone.

  Raises:
    ValueError: there are others, which would do the same work and write the same files.
  """
  in_slurm = all(name in os.environ for name in SLURM)
  named = os.environ.get(COUNT) or (os.environ['SLURM_NTASKS'] if in_slurm else '1')
  if named != '1':
    raise ValueError(
      f'{program} is one process and uses the devices of one host, and the environment names '
      f'{named}; start it once, without {COUNT} (under Slurm: srun --ntasks=1)'
    )


def stop():
  """Parts from the other processes, once all have come here."""
  if jax.distributed.is_initialized():
    jax.distributed.shutdown()


def from_first(value: int) -> int:
  """Returns what process 0 says, in every process; all must call it."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


class PreemptionNotice:
  """Whether the machine is about to be taken away: a SIGTERM to any process of the run.

  With several processes JAX's service carries the notice to all of them and chooses the step at
  which all stop, so that `arrived` becomes true for all at once.
  """

  # Of every stage of the run: the service compares them across processes.
  _calls = itertools.count()

  def __enter__(self) -> 'PreemptionNotice':
    self._signalled, self._previous = False, None
    if not jax.distributed.is_initialized():
      self._previous = signal.signal(signal.SIGTERM, self._note)
    return self

  def __exit__(self, *exception):
    if self._previous is not None:
      signal.signal(signal.SIGTERM, self._previous)

  def _note(self, *_):
    self._signalled = True

  def arrived(self) -> bool:
    """To be asked once after every step, by all processes."""
    if jax.distributed.is_initialized():
      return multihost_utils.reached_preemption_sync_point(next(self._calls))
    return self._signalled
