"""Scores a run's models on the held-out clips of its data, by one protocol.

The stage `evaluate` ends a run with likelihoods and codebook figures. This module also compares
clips, and records everything that is needed to repeat the comparison.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
from etils.epath import Path

from videogpt_jax import input as data
from videogpt_jax import workdir
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import (
  class_accuracy,
  compare,
  model_clips,
  model_sets,
  nearest,
  protocols,
  record,
)
from videogpt_jax.evaluation.clip_sets import ArrayClips, ClipConfig
from videogpt_jax.evaluation.networks import Networks, describe_files, usable
from videogpt_jax.evaluation.scoring import Estimates
from videogpt_jax.loading import load_model
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.stages import held_out, score_worlds
from videogpt_jax.stages.score_worlds import Rollouts
from videogpt_jax.stages.scored import Scored, check_clips, scored
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.logging import say
from videogpt_jax.training.sharding import MeshConfig, make_mesh
from videogpt_jax.videogpt import VideoGPT

LOOKED_THROUGH = {
  'i3d': {'fvd', 'kvd', 'precision', 'recall', 'density', 'coverage'},
  'lpips': {'lpips'},
}
"""Kinds of scores by a network, a value of `vqvae_loss.perceptual`."""

N_TRAINING_CLIPS = 1000
"""Training clips that samples are compared with, to find copies and to train a classifier."""


@dataclasses.dataclass(frozen=True)
class Scoring:
  """Settings of a scoring.

  Attributes:
    protocol: clips in a trial, and trials.
    networks: what to score with.
    seed: of the samples and of the choice of real clips.
    batch_size: clips at a time.
    split: the held-out clips, 'test' or 'val'; where only one is there, either name means it.
    save_reference: file for the features of the real clips.
  """

  protocol: protocols.Protocol
  networks: Networks
  seed: int = 0
  batch_size: int = 16
  split: str = 'test'
  save_reference: pathlib.Path | None = None


def score_workdir(folder: Path, scoring: Scoring, with_samples: bool = True) -> dict[str, Any]:
  """Scores the models of a workdir; see `score_model`.

  Raises:
    UserFileError: it is no workdir, or nothing is trained there.
    UserError: its data set has no clips to compare with, or too few for the protocol.
  """
  return score_model(scored(folder, folder), scoring, with_samples)


def score_model(
  of: Scored, scoring: Scoring, with_samples: bool = True, rollouts: Rollouts | None = None
) -> dict[str, Any]:
  """Scores a tokenizer and, where there is one, its prior.

  Args:
    of: the model.
    scoring: how.
    with_samples: False scores what needs no samples. Without a network that could score samples,
      none are drawn either.
    rollouts: what to play, see `score_worlds`; or None.
  Returns:
    the record of `score_clips`. Its scores include the likelihoods and codebook figures that the
    stage `evaluate` reports.
  Raises:
    UserFileError: nothing is trained there.
    UserError: its data set has not the model's clips, or too few for the protocol.
  """
  for line in workdir.in_use(Path(of.place)):
    say(line)
  model, experiment = load_model(of.place), of.experiment
  if of.stated:
    check_clips(model, experiment)
  if rollouts is not None:
    score_worlds.check(model)
  result = score_clips(model, experiment, of.folder, scoring, with_samples)
  batches = lambda: data.test_batches(
    experiment.dataset, batch_size=_batch_size(scoring), split=scoring.split
  )
  found, _ = held_out.score(model, batches, make_mesh(MeshConfig(), jax.local_devices()))
  if rollouts is not None:
    fps = experiment.sample.frame_rate(model.cut.frame_rate)
    settings, shown = _settings(experiment), (of.folder / 'rollouts.gif', fps)
    played = score_worlds.score(
      model, experiment.dataset, settings, rollouts, scoring.networks.features, *shown
    )
    result['trained_on'] += trained_on(experiment.vqvae_loss.perceptual, played, scoring.networks)
    found |= played
  for kind, values in record.of_estimates(found).items():
    result[kind] |= values
  if not isinstance(model, VideoGPT):
    remedy = 'the workdir a prior (--stages=prior)' if of.is_run else 'a checkpoint with a prior'
    result['missing']['scores of samples, likelihoods'] = remedy
  result['warnings'] += _unfinished(of.place) if of.is_run else []
  return result | {'workdir' if of.is_run else 'checkpoint': str(of.place)}


def score_clips(
  model: VideoGPT | Tokenizer,
  experiment: Experiment,
  folder: Path,
  scoring: Scoring,
  with_samples: bool = True,
) -> dict[str, Any]:
  """Compares a model's samples and reconstructions with real clips.

  Args:
    model: the trained models, or the tokenizer alone.
    experiment: what they were trained in.
    folder: the workdir, which keeps the samples.
    scoring: how.
    with_samples: see `score_workdir`.
  Returns:
    the record of evaluation.compare; `model` (a digest of its arrays), `in_use` (the workdir's
    checkpoints), `dataset` and, for samples, `sampling` say what was scored; `trained_on` names the
    scores that flatter the model, see there.
  Raises:
    UserError: the model's clips are not the protocol's, or there are too few clips.
  """
  dataset, protocol = experiment.dataset, scoring.protocol
  networks = usable(scoring.networks, dataset.sequence_length, protocol)
  has_prior = isinstance(model, VideoGPT)
  protocol.check_frames(model.config.n_cond_frames if has_prior else 0, dataset.sequence_length)
  drawing = model_sets.Drawing(
    protocol, _settings(experiment), scoring.seed, scoring.batch_size, networks.compare_sets
  )
  real = lambda split: data.real_batches(
    dataset,
    split=scoring.split if split == 'test' else split,
    start=protocol.start,
    batch_size=_batch_size(scoring),
    seed=scoring.seed,
  )
  drawn_with = {
    'model': model.digest,
    'dataset': dataclasses.asdict(dataset),
    'split': scoring.split,
    'in_use': workdir.in_use(folder),
  }
  if has_prior and with_samples and (networks.features or networks.c3d):
    sets = model_sets.generator_sets(model, real(protocol.split), drawing, folder / 'evaluation')
    drawn_with['sampling'] = dataclasses.asdict(drawing.settings)
  else:
    tokenizer = model.vqvae if has_prior else model
    sets = model_sets.tokenizer_sets(tokenizer, real(protocol.split), drawing)
  sets.reference.lossy = data.compression(dataset)
  sets = dataclasses.replace(sets, config=_cut(dataset, protocol))
  n, training = protocol.n_clips or len(sets.reference), None
  if sets.samples is not None or (networks.features and len(sets.reference) < 2 * n):
    training = model_clips.collect(real('train'), max(n, N_TRAINING_CLIPS))
    if protocol.split != 'train':  # the reference's own clips are no others
      others = ArrayClips(training['video'][:n], origin='training clips')
      sets = dataclasses.replace(sets, others=others)
  result = compare.compare(
    sets,
    protocol,
    scoring.networks,
    seed=scoring.seed,
    batch_size=scoring.batch_size,
    save_reference=scoring.save_reference,
  )
  result['trained_on'] = trained_on(experiment.vqvae_loss.perceptual, result['scores'], networks)
  if sets.samples is not None:
    held_out = model_clips.collect(real('test'), N_TRAINING_CLIPS)
    found = _against_training(sets, held_out, training, dataset)
    for kind, values in record.of_estimates(found).items():
      result[kind] |= values
    samples = sets.samples.read(protocols.spread(len(sets.samples), nearest.N_SHOWN))
    fps = experiment.sample.frame_rate(model.cut.frame_rate)
    nearest.write_picture(folder / 'nearest.gif', samples, training['video'], fps)
  return result | drawn_with


def trained_on(perceptual: str, scores: Collection[str], networks: Networks) -> list[str]:
  """Returns the scores by the network that the tokenizer's perceptual loss looked through.

  They flatter it, and compare with no other model's.
  """
  if perceptual == 'i3d' and networks.features and networks.features.name != 'i3d':
    return []
  kinds = LOOKED_THROUGH.get(perceptual, set())
  return sorted(name for name in scores if kinds & set(name.split('_')))


def _against_training(
  sets: compare.ClipSets,
  held_out: model_clips.Arrays,
  training: model_clips.Arrays,
  dataset: data.DatasetConfig,
) -> Estimates:
  """Returns the scores of samples that need training clips: copies, and the classes of digits."""
  shown = protocols.spread(len(sets.samples), N_TRAINING_CLIPS)
  samples, real = sets.samples.read(shown), held_out['video']
  scores = nearest.copying_scores(samples, real, training['video'])
  if sets.classes is None or not class_accuracy.tells(dataset):
    return scores
  labelled = {
    'class_accuracy': (samples, sets.classes[shown]),
    'class_accuracy_real': (real, held_out['label']),
  }
  return scores | class_accuracy.class_accuracy((training['video'], training['label']), labelled)


def is_scored(result: Mapping[str, Any], folder: Path, scoring: Scoring) -> bool:
  """Whether a record of `score_workdir` is what it would give again."""
  sampling = dataclasses.asdict(_settings(scored(folder, folder).experiment))
  return (
    result.get('model') == load_model(folder).digest
    and 'intervals' in result  # older records have none
    and result.get('sampling', sampling) == sampling
    and result.get('protocol') == dataclasses.asdict(scoring.protocol)
    and result.get('seed') == scoring.seed
    and result.get('split', 'test') == scoring.split
    and result.get('weights') == describe_files(scoring.networks)
  )


def _cut(dataset: data.DatasetConfig, protocol: protocols.Protocol) -> ClipConfig:
  """Returns how real clips are cut; with `fps`, time stamps choose the frames instead."""
  return ClipConfig(
    n_frames=dataset.sequence_length,
    frame_stride=dataset.frame_skip,
    choice=protocol.start or dataset.test_start,
    resolution=dataset.resolution,
  )


def _settings(experiment: Experiment) -> SamplingSettings:
  """Returns how the run samples, but for the length: clips are scored, as the held-out ones are."""
  return dataclasses.replace(experiment.sample.settings, num_frames=0)


def _batch_size(scoring: Scoring) -> int:
  """Returns a number of clips at a time that the devices divide."""
  n_devices = jax.local_device_count()
  return -(-scoring.batch_size // n_devices) * n_devices


def _unfinished(folder: Path) -> list[str]:
  warnings = []
  for name in workdir.TRAINED:
    step, steps = workdir.steps_done(folder, name)
    if 0 < step < steps:
      warnings.append(
        f'{name} is scored after step {step} of {steps}: its training has not finished'
      )
  return warnings
