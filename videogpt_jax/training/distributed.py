"""The processes of one run: how they find each other, agree on a value, and stop at a preemption.

On Cloud TPU (also on GKE) and under Slurm's srun, the environment names the processes. Elsewhere,
as in a Kubernetes job without TPUs, three variables do: JAX_COORDINATOR_ADDRESS (host:port of
process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID. In an indexed Kubernetes job,
JOB_COMPLETION_INDEX may replace the last. Without any of these, the run is a single process.
"""

import glob
import importlib.util
import os
import signal
import socket
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

from videogpt_jax.errors import UserError

EXIT_PREEMPTED = 75
"""Exit status of a run that saved and stopped for a preemption: sysexits' EX_TEMPFAIL. A supervisor
can tell it from a failure and start the same command again."""

EXIT_INTERRUPTED = 130
"""Exit status of a run that was interrupted from the keyboard, as shells have it."""

ADDRESS, COUNT, INDEX = 'JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'
KUBERNETES_INDEX = 'JOB_COMPLETION_INDEX'
SLURM = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID')

TPU_HOSTS, TPU_SLICES = 'TPU_WORKER_HOSTNAMES', 'MEGASCALE_NUM_SLICES'
"""Cloud TPU names the hosts of a slice in the first, and on several slices their number."""


HEARTBEAT_TIMEOUT = 110
"""Seconds without a sign of life after which JAX ends the other processes. It sends one every half
of that, so it may end them after the other half. `watch` has to come before, as it names the host:
it needs 40 s."""


class PreemptedError(BaseException):
  """The machine is about to be taken away, or the user interrupts.

  Like KeyboardInterrupt it is no Exception, so that nothing takes it for a failure.

  Attributes:
    step: at which the state was saved; None if there was nothing to save.
    status: exit status of the process.
  """

  def __init__(self, step: int | None = None, number: int = signal.SIGTERM):
    where = '' if step is None else f' at step {step}'
    why = 'interrupted' if number == signal.SIGINT else 'stopped for a preemption'
    super().__init__(f'{why}{where}; the same command goes on from there')
    self.step = step
    self.status = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_PREEMPTED


def start():
  """Joins the other processes, if there are any. Must be called before anything touches a device.

  Raises:
    UserError: the variables that name the processes are incomplete or contradictory, or the
      processes cannot be joined.
  """
  try:
    if ADDRESS in os.environ or COUNT in os.environ or INDEX in os.environ:
      address, count, index = _explicit()
      _announce(f'process {index} of {count} joins the others at {address}')
      _join(address, count, index, cluster_detection_method='deactivate')
    elif all(name in os.environ for name in SLURM) and int(os.environ['SLURM_NTASKS']) > 1:
      _announce('joining the other tasks of this Slurm step')
      _join(cluster_detection_method='slurm', local_device_ids=_gpus_of_task())
    elif _on_tpu():
      _join()
  except jax.errors.JaxRuntimeError as error:
    raise UserError(
      f'cannot join the other processes of this run: {error}; check that all of them are running '
      'and can reach process 0'
    ) from None


def _join(*args, **kwargs):
  jax.distributed.initialize(*args, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT, **kwargs)


def _gpus_of_task() -> list[int] | None:
  """Returns the GPUs of this task among those that it sees; None leaves the choice to JAX.

  JAX would give each task one GPU, whatever there are. With `--gpus-per-task` a task sees its own
  ones; else the tasks of a node share those of the node evenly.

  Raises:
    UserError: they do not divide evenly.
  """
  visible = os.environ.get('CUDA_VISIBLE_DEVICES') or os.environ.get('ROCR_VISIBLE_DEVICES')
  on_node = os.environ.get('SLURM_GPUS_ON_NODE', '')
  n_gpus = len(visible.split(',')) if visible else int(on_node) if on_node.isdigit() else 0
  if not n_gpus:
    return None
  if 'SLURM_GPUS_PER_TASK' in os.environ:
    return list(range(n_gpus))
  n_tasks = _tasks_on_node()
  if n_gpus % n_tasks:
    raise UserError(
      f'the {n_tasks} tasks of a node do not divide its {n_gpus} GPUs; use '
      f'--ntasks-per-node={n_gpus}, or 1 for a task that takes all of them'
    )
  share, index = n_gpus // n_tasks, int(os.environ['SLURM_LOCALID'])
  return list(range(index * share, (index + 1) * share))


def _tasks_on_node() -> int:
  """Reads the tasks of this node: Slurm lists them as '2(x3),1', for three nodes of 2 and one."""
  text = os.environ.get('SLURM_STEP_TASKS_PER_NODE') or os.environ.get('SLURM_TASKS_PER_NODE', '1')
  counts = []
  for part in text.split(','):
    count, _, times = part.partition('(x')
    counts += [int(count)] * int(times.rstrip(')') or 1)
  node = int(os.environ.get('SLURM_NODEID', 0))
  return counts[node] if node < len(counts) else counts[-1]


def _announce(line: str):
  """Tells why the start may take long: JAX waits for the others in silence, up to five minutes."""
  print(line, file=sys.stderr, flush=True)


def _explicit() -> tuple[str, int, int]:
  """Reads the coordinator's address, the number of processes, and this process's number."""
  names = [ADDRESS, COUNT, INDEX if INDEX in os.environ else KUBERNETES_INDEX]
  missing = [n for n in names if n not in os.environ]
  if missing:
    raise UserError(
      f'{ADDRESS}, {COUNT} and {INDEX} (or {KUBERNETES_INDEX}) must be set together; missing: '
      f'{", ".join(INDEX if n == KUBERNETES_INDEX else n for n in missing)}'
    )
  address, count, index = (os.environ[n] for n in names)
  if ':' not in address:
    raise UserError(f'{ADDRESS} ({address!r}) must be host:port, such as {address}:8476')
  if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
    raise UserError(f'{names[2]} ({index}) must be a number in [0, {COUNT} ({count}))')
  if index == '0':
    _check_port(address)
  return address, int(count), int(index)


def _check_port(address: str):
  """Refuses a port that process 0 cannot listen on; JAX crashes without a message there."""
  port = address.rsplit(':', 1)[1]
  with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      s.bind(('', int(port)))
    except (ValueError, OverflowError, OSError) as error:
      raise UserError(
        f'process 0 cannot listen on port {port} of {ADDRESS} ({error}); choose a free one'
      ) from None


def _on_tpu() -> bool:
  """Returns whether this is a Cloud TPU host: libtpu is installed and there is a chip."""
  platforms = os.environ.get('JAX_PLATFORMS', '')
  if platforms and 'tpu' not in platforms.split(','):
    return False
  chips = glob.glob('/dev/accel[0-9]*') + glob.glob('/dev/vfio/[0-9]*')
  return bool(chips) and importlib.util.find_spec('libtpu') is not None


def refuse_others(program: str):
  """Refuses an environment that names several processes, for a program that runs as one.

  Raises:
    UserError: there are other processes, which would do the same work and write the same files.
  """
  count, alone = _named()
  if count != '1':
    raise UserError(
      f'{program} is one process and uses the devices of one host, and the environment names '
      f'{count}; {alone}'
    )


def _named() -> tuple[str, str]:
  """Returns how many processes the environment names, and how to start a single one."""
  if COUNT in os.environ:
    return os.environ[COUNT] or '1', f'start it once, without {COUNT}'
  if all(name in os.environ for name in SLURM):
    return os.environ['SLURM_NTASKS'], 'start it once, with srun --ntasks=1'
  if _on_tpu():
    hosts = os.environ.get(TPU_HOSTS, '').count(',') + 1
    slices = int(os.environ.get(TPU_SLICES) or 1)
    return str(hosts * slices), (
      'start it on a slice of one host, or on the CPU of one host with JAX_PLATFORMS=cpu'
    )
  return '1', ''


def stop():
  """Leaves the other processes, once all have called this."""
  if jax.distributed.is_initialized():
    jax.distributed.shutdown()


def from_first(value: int) -> int:
  """Returns process 0's value in every process; all must call it."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))
