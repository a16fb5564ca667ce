"""What is scored: a trained model, and a data set that has its clips."""

import dataclasses

from etils.epath import Path

from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.videogpt import VideoGPT

CLIPLESS = {
  'codes': 'states codes as its data set, without clips',
  'random': 'states noise as its data set, as an import without --config does',
}
"""Data sources without clips to compare with, and what to say of a run that has one."""


@dataclasses.dataclass(frozen=True)
class Scored:
  """A trained model and its data set.

  Attributes:
    place: a workdir, or the file of a checkpoint.
    folder: keeps the samples; of a run, the workdir.
    experiment: states the data set and how samples are drawn.
    stated: whether that is not the model's own, so that it has to be checked.
  """

  place: Path
  folder: Path
  experiment: Experiment
  stated: bool = False

  @property
  def is_run(self) -> bool:
    """Whether it is a run's, whose training may be unfinished."""
    return self.place == self.folder


def scored(place: Path, folder: Path, stated: Experiment | None = None) -> Scored:
  """Returns a model to score, with the data set that its run states, or else `stated`.

  Raises:
    UserFileError: a folder is no workdir.
    UserError: neither or both state a data set with clips, or it does not have the model's clips.
  """
  experiment = workdir.read_experiment(place) if place.is_dir() else None
  lacks = 'is a checkpoint, which does not state its data set'
  if experiment:
    lacks = CLIPLESS.get(experiment.dataset.source, '')
  if not lacks and stated:
    raise UserError(f'{place} states its own data set; omit --config')
  if stated and stated.dataset.source in CLIPLESS:
    raise UserError(f'--config has dataset.source={stated.dataset.source!r}, which has no clips')
  if lacks and not stated:
    raise UserError(
      f'{place} {lacks}; give one with --config=configs/X.py, or score clips with --samples and '
      '--reference'
    )
  return Scored(place, folder, stated or experiment, bool(stated))


def check_clips(model: VideoGPT | Tokenizer, experiment: Experiment):
  """Refuses a data set whose clips or conditions are not the model's (UserError)."""
  has_prior, dataset = isinstance(model, VideoGPT), experiment.dataset
  spec = (model.vqvae if has_prior else model).spec
  square = lambda size: size[0] if size[0] == size[1] else size
  pairs = {
    'sequence_length': (dataset.sequence_length, spec.sequence_length),
    'resolution': (square(dataset.frame_size), square(spec.frame_size)),
  }
  for name, (given, wanted) in pairs.items():
    if given != wanted:
      raise UserError(
        f'dataset.{name} is {given} and the model was trained with {wanted}; add '
        f'--config.dataset.{name}="{wanted}"'
      )
  if has_prior:
    from videogpt_jax.input import contents  # TensorFlow

    contents.check_conditions(contents.describe(dataset), model.config)
