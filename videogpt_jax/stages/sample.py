"""The third stage: videos from the trained models, as files."""

import dataclasses
import functools
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import jax
import numpy as np
from etils.epath import Path
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from videogpt_jax import media
from videogpt_jax.api import Layout, VideoGPT
from videogpt_jax.sampling.config import SampleConfig
from videogpt_jax.sampling.request import Report, Request
from videogpt_jax.training import sharding
from videogpt_jax.training.logging import duration, write_json

LOG_SECONDS = 30
"""Between two lines of progress where there is no terminal: a log wants few of them."""


@dataclasses.dataclass(frozen=True)
class Conditions:
  """What the videos are told, `config.num` of each; see `sampling.request.Request`."""

  class_label: np.ndarray | int | None = None
  frames: np.ndarray | None = None
  actions: np.ndarray | None = None
  goes_on_from: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Samples:
  """What has been drawn.

  Attributes:
    videos: uint8 [n T H W 3].
    log_likelihood: float [n], nats of the drawn codes under the prior.
    labels: of the videos, or None.
    seconds_per_clip: wall time of a video, compiling left out.
  """

  videos: np.ndarray
  log_likelihood: np.ndarray
  labels: list[str] | None
  seconds_per_clip: float


def place(model: VideoGPT, mesh: Mesh):
  """Puts a model on a mesh: videos over `data` and `fsdp`, heads over `tensor`."""
  model.place(
    Layout(
      shares=mesh.shape['data'] * mesh.shape['fsdp'],
      place=lambda tree: sharding.place(tree, sharding.shardings(tree, mesh)),
      wrap=functools.partial(sharding.on_mesh, mesh=mesh),
      result=NamedSharding(mesh, PartitionSpec()),
    )
  )


def draw(
  model: VideoGPT,
  config: SampleConfig,
  seed: int,
  conditions: Conditions = Conditions(),
  class_names: Sequence[str] = (),
) -> Samples:
  """Draws `config.num` videos; without a class label the classes take turns.

  Args:
    model: the trained models.
    config: how many and how.
    seed: video i depends on it and i.
    conditions: what the prior is conditioned on.
    class_names: of the classes, for the labels.
  Raises:
    ValueError: a condition is missing or misshapen.
  """
  label = conditions.class_label
  if model.config.n_classes and label is None:
    label = np.arange(config.num) % model.config.n_classes
  request = Request(
    config.num,
    seed,
    label,
    conditions.frames,
    conditions.actions,
    config.temperature,
    config.top_k,
    config.top_p,
    config.guidance,
    config.best_of,
    goes_on_from=conditions.goes_on_from,
    num_frames=config.num_frames or None,
  )
  progress = Progress(int(np.prod(model.latent_shape)))
  report = progress.report if jax.process_count() == 1 else None  # the loop calls one host only
  model.compile(request, report)
  start = time.monotonic()
  made = model.generate(request, report)
  seconds = time.monotonic() - start
  progress.end()
  labels = None
  if label is not None:
    labels = [class_names[i] for i in np.broadcast_to(label, (config.num,))]
  pixels = np.round(made.video * 255).astype(np.uint8)
  return Samples(pixels, made.log_likelihood, labels, seconds / config.num)


class Progress:
  """One line that says what is being compiled or drawn, and how long it will take.

  Args:
    n_codes: of a clip.
  """

  def __init__(self, n_codes: int):
    self.n_codes, self.clip, self.n_clips = n_codes, 0, 1
    self.first: tuple[float, float] | None = None
    self.logged = time.monotonic()
    # A function of its own for what is compiled in: the same one, or there would be two programs.
    self.report = Report(self.compiling, self.drawing, self.codes)

  def compiling(self, what: str):
    self._show(f'compiling {what}')

  def drawing(self, clip: int, n_clips: int):
    self.clip, self.n_clips = clip, n_clips

  def codes(self, done):
    done, now = int(done), time.monotonic()
    share = (self.clip + done / self.n_codes) / self.n_clips
    of = f' of clip {self.clip + 1}/{self.n_clips}' if self.n_clips > 1 else ''
    line = f'sampling: {done}/{self.n_codes} codes{of}'
    if self.first is None:
      self.first = (share, now)
    elif share > self.first[0]:
      left = (1 - share) * (now - self.first[1]) / (share - self.first[0])
      line += f', {duration(left)} left'
    self._show(line)

  def end(self):
    if sys.stderr.isatty():
      self._show('')

  def _show(self, text: str):
    if sys.stderr.isatty():
      print(f'\r{text:60s}', end='' if text else '\r', file=sys.stderr, flush=True)
    elif text.startswith('compiling') or time.monotonic() - self.logged > LOG_SECONDS:
      print(text, file=sys.stderr, flush=True)
      self.logged = time.monotonic()


def write(
  samples: Samples,
  folder: Path,
  config: SampleConfig,
  seed: int,
  given: Mapping[str, str] = MappingProxyType({}),
) -> list[Path]:
  """Writes samples.mp4, samples.gif (one labelled grid), each video apart, and samples.json.

  Args:
    samples: the videos.
    folder: to write to; it is made.
    config: how they were drawn.
    seed: likewise.
    given: what more to note, such as the file that was gone on from.
  Returns:
    the files, the grids first.
  """
  each = folder / 'samples'
  each.mkdir(parents=True, exist_ok=True)
  for old in each.glob('[0-9]*.mp4'):  # of an earlier run with more videos
    old.unlink()
  settings = dataclasses.asdict(config) | {'num_frames': samples.videos.shape[1]} | dict(given)
  sheet = media.grid(media.enlarge(samples.videos), samples.labels)
  files = [folder / 'samples.mp4', folder / 'samples.gif', folder / 'samples.json']
  media.write_mp4(files[0], sheet, config.fps)
  media.write_gif(files[1], sheet, config.fps)
  for i, video in enumerate(samples.videos):
    media.write_mp4(each / f'{i:04d}.mp4', video, config.fps)
  write_json(
    files[2],
    {
      'seed': seed,
      'settings': settings,
      'seconds_per_clip': samples.seconds_per_clip,
      'videos': [
        {
          'file': f'samples/{i:04d}.mp4',
          'log_likelihood_nats': float(nats),
          'label': samples.labels[i] if samples.labels else None,
        }
        for i, nats in enumerate(samples.log_likelihood)
      ],
    },
  )
  return [*files, each]
