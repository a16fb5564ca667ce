"""Scores of a run's models on the held-out clips of its data, by one protocol.

Unlike the stage `evaluate`, which ends a run with what the models themselves can say, this compares
clips, and records all that it takes to do it again.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from etils.epath import Path

from videogpt_jax import api, workdir
from videogpt_jax import input as data
from videogpt_jax.config import Experiment
from videogpt_jax.evaluation import evaluate, model_sets, protocols
from videogpt_jax.evaluation.clips import ClipConfig
from videogpt_jax.evaluation.networks import Networks, describe_files
from videogpt_jax.stages import evaluate as stage
from videogpt_jax.training.sharding import MeshConfig, make_mesh


@dataclasses.dataclass(frozen=True)
class Scoring:
  """How a workdir is scored.

  Attributes:
    protocol: clips in a trial, and trials.
    networks: what to score with.
    seed: of the samples and of the choice of real clips.
    batch_size: clips at a time.
  """

  protocol: protocols.Protocol
  networks: Networks
  seed: int = 0
  batch_size: int = 16


def score_workdir(folder: Path, scoring: Scoring, with_samples: bool = True) -> dict[str, Any]:
  """Scores the VQ-VAE of a workdir and, where it has one, the prior.

  Args:
    folder: the workdir.
    scoring: how.
    with_samples: False scores what needs no samples. None are drawn either where there is no
      network that could score them.
  Returns:
    the record of evaluation.evaluate; its scores also hold likelihoods and the codebook's figures,
    as the stage `evaluate` reports them. `workdir`, `model` (a digest of its arrays),
    `dataset` and, of samples, `sampling` say what was scored.
  Raises:
    FileNotFoundError: it is no workdir, or nothing is trained there.
    ValueError: its data set has no clips to compare with, or too few for the protocol.
  """
  experiment = _scorable(folder)
  batches = lambda: data.test_batches(experiment.dataset, batch_size=_batch_size(scoring))
  drawing = model_sets.Drawing(
    scoring.protocol,
    _controls(experiment),
    scoring.seed,
    scoring.batch_size,
    scoring.networks.compare_sets,
  )
  model = _load(folder)
  has_prior = isinstance(model, api.VideoGPT)
  networks = scoring.networks
  drawn_with = {
    'workdir': str(folder),
    'model': model_sets.fingerprint(model),
    'dataset': dataclasses.asdict(experiment.dataset),
  }
  if has_prior and with_samples and (networks.i3d or networks.c3d):
    sets = model_sets.generator_sets(model, batches(), drawing, folder / 'evaluation')
    drawn_with['sampling'] = dict(drawing.controls)
  else:
    tokenizer = model.vqvae if has_prior else model
    sets = model_sets.tokenizer_sets(tokenizer, batches(), drawing)
  sets.reference.lossy = data.compression(experiment.dataset)
  sets = dataclasses.replace(sets, config=_held_out_clips(experiment.dataset))
  result = evaluate.evaluate(
    sets, scoring.protocol, networks, seed=scoring.seed, batch_size=scoring.batch_size
  )
  result['scores'] |= stage.score(model, batches, make_mesh(MeshConfig(), jax.local_devices()))
  if not has_prior:
    result['missing']['scores of samples, likelihoods'] = 'the workdir a prior (--stages=prior)'
  result['warnings'] += _unfinished(folder)
  return result | drawn_with


def is_scored(result: Mapping[str, Any], folder: Path, scoring: Scoring) -> bool:
  """Whether a record of `score_workdir` is what it would give again."""
  return (
    result.get('model') == model_sets.fingerprint(_load(folder))
    and result.get('protocol') == dataclasses.asdict(scoring.protocol)
    and result.get('seed') == scoring.seed
    and result.get('weights') == describe_files(scoring.networks)
  )


def _load(folder: Path) -> api.VideoGPT | api.Tokenizer:
  """The models of a workdir, of which the VQ-VAE must have begun to be trained."""
  if workdir.has_checkpoints(folder, 'prior'):
    return api.load_videogpt(folder)
  return api.load_vqvae(folder)


def _scorable(folder: Path) -> Experiment:
  experiment = workdir.read_experiment(folder)
  source = experiment.dataset.source
  if source == 'codes':
    raise ValueError(f'the data set of {folder} is codes, without clips to compare with')
  if source == 'random':
    raise ValueError(
      f'the data set of {folder} is noise, as of a checkpoint that was imported without its '
      'experiment; import it with --config=configs/X.py to say what it was trained on, or score '
      'clips with --samples and --reference'
    )
  return experiment


def _held_out_clips(dataset: data.DatasetConfig) -> ClipConfig:
  """How test clips are cut; with `fps` the recording's time stamps choose the frames."""
  return ClipConfig(
    n_frames=dataset.sequence_length,
    frame_stride=dataset.frame_skip,
    resolution=dataset.resolution,
  )


def _controls(experiment: Experiment) -> dict[str, Any]:
  return {name: getattr(experiment.sample, name) for name in ('temperature', 'top_k', 'top_p')}


def _batch_size(scoring: Scoring) -> int:
  """Clips at a time, as many as all devices share evenly."""
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
