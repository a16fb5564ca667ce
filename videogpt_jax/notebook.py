"""What the notebooks share: commands that are followed in a cell, and clips to begin with.

A TPU serves one process, and a GPU's memory is taken by the first. A notebook that leaves
training and sampling to commands stays off the accelerator, and a command can be given again.
"""

import base64
import collections
import functools
import html
import io
import pathlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

import videogpt_jax
from videogpt_jax import loading, machine, media
from videogpt_jax.errors import UserError
from videogpt_jax.models import conditioners
from videogpt_jax.starts import Starts
from videogpt_jax.videogpt import VideoGPT

TAIL = 8
"""Lines of a command's output that a cell shows while it runs."""

_EVERY = 2.0  # seconds between two looks at what is new
_STYLE = 'width:100%;height:40rem;border:1px solid #8884'
_LOW = 'video, img { width: auto; max-width: 100%; max-height: 12rem }'
_LOOK = """
import jax
print(jax.default_backend(), jax.device_count(), 'x', jax.devices()[0].device_kind)
"""


def announce():
  """Prepares a notebook, and prints what JAX runs on, without taking it: another process looks.

  Raises:
    UserError: JAX does not start.
  """
  machine.slim_tensorflow()
  done = subprocess.run([sys.executable, '-c', _LOOK], capture_output=True, text=True)
  if done.returncode:
    raise UserError(f'JAX does not start: {"".join(done.stderr.splitlines()[-1:])}')
  backend, devices = done.stdout.splitlines()[-1].split(' ', 1)
  print(f'videogpt_jax {videogpt_jax.__version__} on {devices}')
  if backend == 'cpu':
    print(machine.idle_accelerator(backend) or 'No accelerator: everything works, only slower.')


def run(name: str, *flags: str, workdir: str | None = None):
  """Runs `python -m videogpt_jax.NAME`, and shows in the cell what it prints.

  Stopping the cell stops the command as an interruption does: training saves first.

  Args:
    name: of the entry point, such as 'main'.
    flags: of the command.
    workdir: of a run, whose report (curves, reconstructions, videos) is shown as it grows, below
      warnings and the last `TAIL` lines; None shows all lines.
  Raises:
    UserError: the command failed, or was stopped; the message is its own.
  """
  command = [sys.executable, '-u', '-m', f'videogpt_jax.{name}', *flags]
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors='replace',
    start_new_session=True,  # a notebook's interrupt reaches it once, from here
  )
  lines: list[str] = []
  reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
  reader.start()
  show = _Tail(pathlib.Path(workdir)) if workdir else _All()
  while reader.is_alive():
    try:
      reader.join(_EVERY)
      show(lines)
    except KeyboardInterrupt:
      process.send_signal(signal.SIGINT)
  show(lines)
  if status := process.wait():
    told = [line for line in lines if line.startswith('error: ')] or lines[-1:] or ['']
    raise UserError(told[-1].strip().removeprefix('error: ') or f'{name} ended with {status}')


def starts(path: str, n: int) -> Starts | None:
  """Returns clips that a model can begin with: those that it brings, or of its run's data set.

  Args:
    path: as for `load_videogpt`.
    n: clips of a data set, at most; the first held-out ones.
  Returns:
    None where there are none: a published checkpoint brings no clips, and data may be elsewhere.
  """
  from videogpt_jax import workdir
  from videogpt_jax.stages import clips
  from videogpt_jax.stages.scored import CLIPLESS

  if not (place := loading.find_model(path)).is_dir():
    return loading.load_starts(path)
  experiment = workdir.read_experiment(place)
  if experiment.dataset.source in CLIPLESS:
    return None
  try:
    return clips.first_starts(experiment, n)
  except (UserError, ModuleNotFoundError) as error:  # TensorFlow, which reads data sets
    print(f'no clips to begin with: {error}')
    return None


def conditions(
  model: VideoGPT, given: Starts | None, n: int, n_frames: int = 0, action: str = ''
) -> dict[str, Any]:
  """Returns all that a prior is conditioned on, by name, for n videos.

  Args:
    model: the model.
    given: clips whose frames, with their classes, and actions take turns, see `starts`; without
      them frames and actions are zeros. Classes take turns unless they belong to frames.
    n: number of videos.
    n_frames: of each video, if it is longer than a clip.
    action: name or number of one that holds for all frames; '' takes those of the clips.
  Raises:
    UserError: there is no such action.
  """
  config, spec = model.config, model.vqvae.spec
  found = dict(given.conditions(n, config, n_frames)) if given else {}
  if 'frames' not in found:
    found.pop('class_label', None)
  for name, like in conditioners.shapes(config, spec).items():
    shape = list(like.shape)
    if name == 'actions':
      shape[0] = max(shape[0], n_frames)
    zeros = np.zeros((n, *shape), like.dtype)
    turns = np.arange(n, dtype=like.dtype) % max(config.n_classes, 1)
    found.setdefault(name, turns if name == 'class_label' else zeros)
  if action:
    number = _action(model, action)
    found['actions'] = np.zeros_like(found['actions'])
    found['actions'][..., number] = 1
  return found


def _action(model: VideoGPT, action: str) -> int:
  """Returns the number of an action that is given by its name or number (UserError: none is)."""
  if action in model.actions:
    return model.actions.index(action)
  if action.isdecimal() and int(action) < model.config.action_dim:
    return int(action)
  told = ', '.join(model.actions) or 'none, as the prior is not conditioned on them'
  raise UserError(f'action {action!r} is unknown; actions are {told}')


def _read(stream: Iterable[str], lines: list[str]):
  for line in stream:
    lines.append(line)


class _All:
  """Prints every line."""

  def __init__(self):
    self._n_shown = 0

  def __call__(self, lines: Sequence[str]):
    new = lines[self._n_shown :]
    self._n_shown += len(new)
    sys.stdout.write(''.join(new))


class _Tail:
  """Shows the last lines, and a run's report."""

  def __init__(self, workdir: pathlib.Path):
    self._workdir, self._outputs = workdir, collections.defaultdict(_Output)

  def __call__(self, lines: Sequence[str]):
    warnings = [line for line in lines[:-TAIL] if line.startswith('warning: ')]
    tail = ''.join([*warnings, *lines[-TAIL:]])
    self._outputs['lines'].show(f'<pre>{html.escape(tail)}</pre>', tail)
    if page := self._report():
      frame = f'<iframe srcdoc="{html.escape(page)}" title="the run\'s report" style="{_STYLE}">'
      self._outputs['report'].show(f'{frame}</iframe>', f'the report of {self._workdir}')

  def _report(self) -> str:
    from etils.epath import Path  # these two: what loading a workdir needs

    from videogpt_jax.stages import report

    try:
      return lighter(report.html(Path(self._workdir)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
      return ''  # it has not begun, or is broken, of which the run warns


def lighter(page: str) -> str:
  """Returns a page for a cell: lower pictures, and GIFs as mp4, which is a third of the bytes."""
  page = page.replace('</style>', f'{_LOW}</style>')
  gif = r'<img alt="([^"]*)" src="data:image/gif;base64,([^"]*)">'
  return re.sub(gif, lambda found: _as_video(*found.groups()), page)


@functools.lru_cache(maxsize=4)
def _as_video(description: str, gif: str) -> str:
  image = Image.open(io.BytesIO(base64.b64decode(gif)))
  frames = [np.asarray(frame.convert('RGB')) for frame in ImageSequence.Iterator(image)]
  data = base64.b64encode(media.mp4(np.stack(frames), media.PREVIEW_FPS)).decode()
  return (
    f'<video autoplay loop muted playsinline controls aria-label="{description}" '
    f'src="data:video/mp4;base64,{data}"></video>'
  )


class _Output:
  """A place in the cell's output, whose content is replaced when it changes."""

  def __init__(self):
    self._shown, self._handle = '', None

  def show(self, content: str, plain: str):
    from IPython.display import display

    if content == self._shown:
      return
    self._shown, data = content, {'text/html': content, 'text/plain': plain}
    if self._handle is None:
      self._handle = display(data, raw=True, display_id=True)
    else:
      self._handle.update(data, raw=True)
