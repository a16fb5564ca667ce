"""The third stage: videos from the trained models, as files."""

import dataclasses
import time
from collections.abc import Sequence

import jax
import numpy as np
from etils.epath import Path

from videogpt_jax import media
from videogpt_jax.api import VideoGPT
from videogpt_jax.sampling.config import SampleConfig
from videogpt_jax.training.logging import write_json


@dataclasses.dataclass(frozen=True)
class Samples:
  """What has been drawn.

  Attributes:
    videos: uint8 [n T H W 3].
    log_likelihood: float [n], nats of the codes under the prior.
    labels: of the videos, or None.
    seconds_per_clip: wall time, compiling left out.
  """

  videos: np.ndarray
  log_likelihood: np.ndarray
  labels: list[str] | None
  seconds_per_clip: float


def draw(
  model: VideoGPT,
  config: SampleConfig,
  seed: int,
  class_label: np.ndarray | None = None,
  frames: np.ndarray | None = None,
  actions: np.ndarray | None = None,
  class_names: Sequence[str] = (),
) -> Samples:
  """Draws `config.num` videos; without `class_label` the classes take turns.

  Args:
    model: the trained models.
    config: how many and how.
    seed: video i depends on it and i.
    class_label, frames, actions: what the prior is conditioned on, `config.num` of each.
    class_names: of the classes, for the labels.
  Raises:
    ValueError: a condition is missing or misshapen.
  """
  n_classes = model.config.n_classes
  if n_classes and class_label is None:
    class_label = np.arange(config.num) % n_classes
  controls = {name: getattr(config, name) for name in ('temperature', 'top_k', 'top_p')}

  conditions = {'class_label': class_label, 'frames': frames, 'actions': actions}
  model.compile(config.num, seed=seed, **conditions, **controls)
  start = time.monotonic()
  drawn = model.draw(config.num, seed, **conditions, **controls)
  videos = jax.block_until_ready(model.videos(drawn.codes))
  seconds = time.monotonic() - start
  labels = None
  if class_label is not None:
    labels = [class_names[i] for i in np.broadcast_to(class_label, (config.num,))]
  pixels = np.round(np.asarray(videos) * 255).astype(np.uint8)
  return Samples(pixels, np.asarray(drawn.log_likelihood), labels, seconds / config.num)


def write(samples: Samples, folder: Path, config: SampleConfig, seed: int) -> list[Path]:
  """Writes samples.mp4, samples.gif (one labelled grid), each video apart, and samples.json.

  Returns:
    the files, the grids first.
  """
  each = folder / 'samples'
  each.mkdir(parents=True, exist_ok=True)
  for old in each.glob('[0-9]*.mp4'):  # of an earlier run with more videos
    old.unlink()
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
      'settings': dataclasses.asdict(config),
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
