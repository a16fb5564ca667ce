"""Videos for a page: what its form asks for, drawn one request at a time.

Axis letters: n videos; T H W frames, height, width; A action_dim.
"""

import dataclasses
import pathlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np

from videogpt_jax import readers
from videogpt_jax.errors import UserError
from videogpt_jax.models.conditioners import wanted
from videogpt_jax.pixels import to_uint8
from videogpt_jax.sampling import checks, windows
from videogpt_jax.sampling.request import Callbacks, Request
from videogpt_jax.sampling.settings import make_settings
from videogpt_jax.server import uploads
from videogpt_jax.server.scenes import NOTHING, Scene
from videogpt_jax.stages.draw import DrawingProgress
from videogpt_jax.videogpt import VideoGPT

MOST_VIDEOS = 16
"""Videos of a request."""

MOST_CLIPS = 16
"""Length of a video, in clips."""

IN_TURN = 'each in turn'
UPLOAD = 'a video or photo of yours'
OF_CLIP = 'those of the clip it begins with'
FILE = 'a NumPy file'

_TICK = 0.3  # seconds between two looks at a drawing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
  """What a page asks for; a model's page leaves out what the model has not.

  Attributes:
    n, seed, num_frames: videos, their seed, and frames of each; None where the user gave nothing.
    class_label: a class, or `IN_TURN`.
    begin: the name of a scene, or `UPLOAD`; None takes the first of `Sampler.beginnings`.
    upload: path of a file.
    from_end: whether the upload is continued; else videos begin with its first frames.
    action: the name of an action, which is held; `OF_CLIP`; or `FILE`.
    actions_file: path of a NumPy file.
    temperature, top_k, top_p, guidance: as in `SamplingSettings`; a top_k of 0 keeps all.
  """

  n: int | None = 1
  seed: int | None = 0
  num_frames: int | None = 0
  class_label: str = IN_TURN
  begin: str | None = None
  upload: str | None = None
  from_end: bool = False
  action: str = OF_CLIP
  actions_file: str | None = None
  temperature: float | None = 1.0
  top_k: int | None = 0
  top_p: float | None = 1.0
  guidance: float | None = 1.0


@dataclasses.dataclass(frozen=True)
class Made:
  """Videos.

  Attributes:
    videos: uint8 [n T H W 3].
    labels: their classes, or None.
    seconds: that drawing took, compiling left out.
  """

  videos: np.ndarray
  labels: list[str] | None
  seconds: float


class Sampler:
  """A model that makes videos for pages.

  Args:
    model: the model.
    clips: that videos can begin with.

  Attributes:
    clip: frames of a clip.
    most_frames: that a video can have.
    beginnings: what a video can begin with.
    continues: whether an upload can be continued from its end, and need not be.
    actions: choices of actions.
    guides: whether the model was trained for guidance.
  Raises:
    UserError: the model needs something that a page cannot give.
  """

  def __init__(self, model: VideoGPT, clips: Sequence[Scene] = ()):
    config, spec = model.config, model.vqvae.spec
    if config.vector_dim:
      raise UserError('this prior is conditioned on vectors, which a page cannot give; use Python')
    self.model, self._clips = model, {clip.name: clip for clip in clips}
    self.clip = spec.sequence_length
    self._shared = _shared_frames(model)
    self.most_frames = self.clip * (MOST_CLIPS if self._shared else 1)
    nothing = [] if config.n_cond_frames else [NOTHING.name]
    begins = bool(self._shared or config.n_cond_frames)
    self.beginnings = [*self._clips, *nothing, *[UPLOAD] * begins]
    self.continues = bool(self._shared and config.n_cond_frames)
    self._names = model.actions
    brought = [OF_CLIP] if any(clip.actions is not None for clip in clips) else []
    self.actions = [*brought, *self._names, FILE] if config.action_dim else []
    self.guides = bool(wanted(config) and config.cond_dropout)
    self._worker = ThreadPoolExecutor(1, 'sampler')

  def request(self, form: Form) -> Request:
    """Returns what the model is asked for (UserError: it cannot be)."""
    for name in ('n', 'seed', 'num_frames', 'temperature'):
      if getattr(form, name) is None:
        raise UserError(f'{name.replace("num_frames", "the length")} is empty; give a number')
    settings = {name: getattr(form, name) for name in ('temperature', 'guidance')}
    settings |= {'top_k': form.top_k or None, 'top_p': None if form.top_p == 1 else form.top_p}
    settings = make_settings(settings | {'num_frames': form.num_frames})
    classes, label = self.model.classes, form.class_label
    if classes:
      label = [classes[i % len(classes)] for i in range(form.n)] if label == IN_TURN else label
    request = self.model.request(
      form.n,
      form.seed,
      class_label=label if classes else None,
      actions=self._actions(form),
      settings=settings,
      **self._beginning(form),
    )
    checks.check_request(request, self.model.vqvae.spec, self.model.config)  # not after a wait
    return request

  def run(self, form: Form) -> Iterator[str | Made]:
    """Yields how far it is, then the videos. Once closed, drawing ends before the next clip.

    Raises:
      UserError: the form asks for what the model cannot make.
    """
    job = _Job(self.model, self.request(form))
    future: Future[Made] = self._worker.submit(job.run)
    try:
      while not wait([future], _TICK).done:
        yield job.text()
    finally:
      job.unwanted.set()
      future.cancel()
    yield future.result()

  def _begin(self, form: Form) -> str:
    """Returns what videos begin with, one of `beginnings`."""
    return form.begin or self.beginnings[0]

  def _beginning(self, form: Form) -> dict[str, np.ndarray]:
    """Returns the frames that videos begin with, as `VideoGPT.request` takes them."""
    begin, n_cond_frames = self._begin(form), self.model.config.n_cond_frames
    clip = self._clips.get(begin)
    continues = not n_cond_frames or (form.from_end and begin == UPLOAD)
    n_frames = self._shared if continues else n_cond_frames
    if begin == NOTHING.name or not n_frames:  # a clip may be there for its actions alone
      return {}
    if clip:
      frames = clip.frames[:n_frames]
    elif form.upload is None:
      raise UserError('there is no file to begin with; choose a video or a photo')
    else:
      file = pathlib.Path(form.upload)
      frames = uploads.read(file, file.name, self.model, n_frames, form.from_end)
    frames = np.repeat(frames[None], form.n, axis=0)
    return {'continue_from' if continues else 'frames': frames}

  def _actions(self, form: Form) -> np.ndarray | None:
    """Returns float32 [n T A], or None for a model without actions."""
    if not self.actions:
      return None
    length, A = max(self.clip, form.num_frames), self.model.config.action_dim
    clip = self._clips.get(self._begin(form))
    if form.action == OF_CLIP:
      if clip is None or clip.actions is None:
        raise UserError('there is no clip to take the actions of; choose a clip, or other actions')
      rows = clip.actions[np.arange(length) % len(clip.actions)]
    elif form.action == FILE:
      return self._actions_of_file(form, length)
    else:
      rows = np.eye(A, dtype=np.float32)[[self._names.index(form.action)] * length]
    return np.repeat(rows[None], form.n, axis=0)

  def _actions_of_file(self, form: Form, length: int) -> np.ndarray:
    if form.actions_file is None:
      raise UserError('there is no file of actions; choose one')
    file, A = pathlib.Path(form.actions_file), self.model.config.action_dim
    try:
      rows = readers.actions(file, A, form.n)
    except UserError as error:
      raise UserError(str(error).replace(str(file), file.name)) from None
    if rows.shape[1] < length:
      raise UserError(f'actions {file.name} has {rows.shape[1]} rows; videos need {length}')
    return rows[:, :length]


def _shared_frames(model: VideoGPT) -> int:
  """Returns how many frames a clip that goes on begins with; 0 if the model cannot go on."""
  try:
    return windows.plan(model.vqvae.spec, model.config, 1, continues=True).shared
  except UserError:
    return 0


class _UnwantedError(Exception):
  """Nobody waits for the videos any more."""


class _Job:
  """A request that is drawn.

  Attributes:
    unwanted: set where nobody waits for it any more.
  """

  def __init__(self, model: VideoGPT, request: Request):
    self._model, self._request = model, request
    self._progress: DrawingProgress | None = None
    self.unwanted = threading.Event()

  def text(self) -> str:
    """Returns how far it is."""
    return self._progress.text() if self._progress else 'waiting for another request to end'

  def run(self) -> Made:
    """Draws the videos (_UnwantedError: nobody waits for them any more)."""
    progress = self._progress = DrawingProgress()
    callbacks = Callbacks(
      self._unless_unwanted(progress.compiling), self._unless_unwanted(progress.drawing)
    )
    self._model.compile(self._request, callbacks)
    start = time.monotonic()
    made = self._model.generate(self._request, callbacks)
    label = self._request.conditions.get('class_label')
    labels = None if label is None else [self._model.classes[i] for i in label]
    return Made(to_uint8(made.video, span=(0, 1)), labels, time.monotonic() - start)

  def _unless_unwanted(self, tell):
    def told(*arguments):
      if self.unwanted.is_set():
        raise _UnwantedError
      tell(*arguments)

    return told
