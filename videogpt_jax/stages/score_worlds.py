"""Scores of worlds: played on from held-out clips, under the actions that were taken there.

Axis letters: N starts; T H W frames, height, width; A action_dim.
"""

import dataclasses
import time

import numpy as np
from etils.epath import Path

from videogpt_jax import input as data
from videogpt_jax import media
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import (
  action_reader,
  features,
  horizons,
  intervals,
  model_clips,
  scoring,
)
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.scoring import Estimate, Estimates, Trials
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.pixels import to_model_range
from videogpt_jax.progress import ProgressLine
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.videogpt import VideoGPT
from videogpt_jax.world import World, check_plays

N_TRAINING_CLIPS = 2500
"""Training clips that the reader of actions learns from."""

N_SHOWN = 8
"""Rollouts in the picture."""

N_TIMED = 20
"""Steps at batch 1 that are timed."""


@dataclasses.dataclass(frozen=True)
class Rollouts:
  """What is played.

  Attributes:
    n: starts.
    horizon: frames that are played on from each.
    batch_size: rollouts side by side.
    seed: of the starts and of the worlds.
  """

  n: int
  horizon: int
  batch_size: int = 16
  seed: int = 0


def check(model: VideoGPT | Tokenizer):
  """Refuses a model that cannot be played (UserError)."""
  if not isinstance(model, VideoGPT):
    raise UserError('--rollouts need a prior, and this is a tokenizer alone')
  check_plays(model.generator)


def score(
  model: VideoGPT,
  dataset: DatasetConfig,
  settings: SamplingSettings,
  rollouts: Rollouts,
  network: FeatureNetwork | None = None,
  picture: Path | None = None,
  fps: float = 0.0,
) -> Estimates:
  """Plays on from held-out clips and compares with how they go on.

  The baselines are `copied`: the last frame as the tokenizer reconstructs it; and, for a model with
  actions, `shuffled`: the same model under another clip's actions.

  Args:
    model: that can be played.
    dataset: what it was trained on.
    settings: how to draw.
    rollouts: how many, and how far.
    network: for Fréchet distances; None for none.
    picture: GIF to write: recordings above what the model makes of them, `N_SHOWN` side by side.
    fps: its frames a second.
  Returns:
    `horizons.scores`; `rollout_fvd` and `rollout_r_fvd`, see `_distances`; for one-hot actions
    `action_accuracy`, `action_accuracy_real` and `action_fidelity`, their ratio;
    `frames_per_second` of one rollout.
  Raises:
    UserError: the model cannot be played, or too few recordings are long enough.
  """
  n_given = model.vqvae.spec.sequence_length
  clips = _clips(dataset, n_given, rollouts)
  real = clips['video'][:, n_given:]
  made = _made(model, settings, clips, rollouts)
  if picture is not None:
    pairs = media.enlarge(np.concatenate([real[:N_SHOWN], made[''][:N_SHOWN]], axis=2))
    media.write_gif(picture, media.grid(pairs, columns=len(pairs)), fps)
  names = data.describe(dataset).class_names or ()
  groups = {name: clips['label'] == i for i, name in enumerate(names)}
  groups = {name: members for name, members in groups.items() if members.sum() > 1}
  found = horizons.scores(made, real, groups if len(groups) > 1 else {})
  if network is not None and network.min_frames <= n_given <= rollouts.horizon:
    found |= _distances(model, made[''][:, :n_given], real[:, :n_given], network, rollouts)
  if 'actions' in clips and _one_hot(clips['actions']):
    found |= _fidelity(dataset, clips, n_given, made[''])
  timed = {name: x[:1] for name, x in clips.items()}
  return found | {
    'frames_per_second': Estimate(_frames_per_second(model, settings, timed, n_given))
  }


def _clips(dataset: DatasetConfig, n_given: int, rollouts: Rollouts) -> model_clips.Arrays:
  """Returns held-out stretches that are long enough, at random places of their recordings."""
  longer = dataclasses.replace(dataset, sequence_length=n_given + rollouts.horizon)
  parts, n = [], 0
  for seed in range(rollouts.seed, rollouts.seed + rollouts.n):  # a recording gives several
    batches = data.real_batches(
      longer, split='test', start='random', batch_size=rollouts.batch_size, seed=seed
    )
    parts.append(model_clips.collect(batches, rollouts.n - n))
    n += len(parts[-1]['video'])
    if n >= rollouts.n:
      break
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _made(
  model: VideoGPT, settings: SamplingSettings, clips: model_clips.Arrays, rollouts: Rollouts
) -> dict[str, np.ndarray]:
  """Returns the frames of the model, '', and of the baselines, uint8 [N horizon H W 3] each."""
  n_given, n = model.vqvae.spec.sequence_length, len(clips['video'])
  others = np.roll(clips['actions'], -1, axis=0) if model.config.action_dim else None
  parts, line = {}, ProgressLine()
  for start in range(0, n, rollouts.batch_size):
    some = {name: x[start : start + rollouts.batch_size] for name, x in clips.items()}
    play = lambda actions, some=some: _played(model, settings, some, n_given, actions, rollouts)
    frames, last = play(some.get('actions'))
    of = {'': frames, 'copied': np.repeat(last[:, None], rollouts.horizon, axis=1)}
    if others is not None:
      of['shuffled'], _ = play(others[start : start + rollouts.batch_size])
    for name, x in of.items():
      parts.setdefault(name, []).append(x)
    line.show(f'{start + len(frames)}/{n} rollouts')
  line.close()
  return {name: np.concatenate(x) for name, x in parts.items()}


def _begun(
  model: VideoGPT, settings: SamplingSettings, clips: model_clips.Arrays, n_given: int, seed: int
) -> World:
  """Returns a world with a rollout from the first frames of each clip."""
  with_actions = model.config.action_dim > 0
  return model.play(
    to_model_range(clips['video'][:, :n_given]),
    seed,
    n=len(clips['video']),
    actions=clips['actions'][:, :n_given] if with_actions else None,
    class_label=clips['label'] if model.config.n_classes else None,
    settings=settings,
  )


def _played(
  model: VideoGPT,
  settings: SamplingSettings,
  clips: model_clips.Arrays,
  n_given: int,
  actions: np.ndarray | None,
  rollouts: Rollouts,
) -> tuple[np.ndarray, np.ndarray]:
  """Plays on: frames uint8 [B horizon H W 3], and the last given ones as reconstructed [B H W 3].

  Args:
    actions: float32 [B T A], of which those after the given frames are taken.
  """
  world, frames, n = _begun(model, settings, clips, n_given, rollouts.seed), [], 0
  f, horizon = world.frames_of_a_step, rollouts.horizon
  while n < horizon:
    action = None
    if model.config.action_dim:  # action i leads from frame i to i + 1
      at = np.minimum(n_given - 1 + n + np.arange(f), n_given + horizon - 1)
      action = actions[:, at]
    frames.append(_to_bytes(world.step(action)))
    n += frames[-1].shape[1]
  return np.concatenate(frames, axis=1)[:, :horizon], _to_bytes(world.given[:, -1])


def _distances(
  model: VideoGPT,
  made: np.ndarray,
  real: np.ndarray,
  network: FeatureNetwork,
  rollouts: Rollouts,
) -> Estimates:
  """Returns Fréchet distances from how the recordings go on: the model's, the tokenizer's.

  Args:
    made, real: uint8 [N T H W 3], the first frames after the start, as many as a clip has.
  """
  autoencode = lambda video: model.vqvae.decode(model.vqvae.encode(video))
  seen = model_clips.reconstruct(autoencode, real, rollouts.batch_size)
  trial = np.arange(len(real))[None]
  reference = ArrayClips(real, origin='continuations')
  kept = features.of_reference(reference, trial, network, rollouts.batch_size).features
  found = {}
  for template, video in {'rollout_{}': made, 'rollout_r_{}': seen}.items():
    clips = ArrayClips(video, origin=template.format('frames'))
    own = features.extract(clips, trial, {'': network}, rollouts.batch_size)['']
    pair = Trials(own, trial), Trials(kept, trial)
    found[network.score_name(template, 'fvd')] = scoring.fvd(*pair, paired=True)
  return found


def _to_bytes(video: np.ndarray) -> np.ndarray:
  return np.rint(video * 255).astype(np.uint8)


def _one_hot(actions: np.ndarray) -> bool:
  return bool(((actions == 0) | (actions == 1)).all() and (actions.sum(axis=-1) == 1).all())


def _fidelity(
  dataset: DatasetConfig, clips: model_clips.Arrays, n_given: int, made: np.ndarray
) -> Estimates:
  """Returns how often the action can be read from two frames, generated and real ones."""
  batches = data.real_batches(dataset, split='train', start='random', batch_size=16)
  training = model_clips.collect(batches, N_TRAINING_CLIPS)
  reader = action_reader.train(training['video'], training['actions'].argmax(-1))
  wanted = clips['actions'].argmax(-1)[:, n_given:-1]
  right = {
    name: (reader(video) == wanted).mean(axis=1)
    for name, video in (
      ('action_accuracy', made),
      ('action_accuracy_real', clips['video'][:, n_given:]),
    )
  }
  found = {name: Estimate(float(x.mean()), None, intervals.of_mean(x)) for name, x in right.items()}
  a, b = right.values()
  ratio = Estimate(float(a.mean() / b.mean()), None, intervals.of_ratio(a, b))
  return found | {'action_fidelity': ratio}


def _frames_per_second(
  model: VideoGPT, settings: SamplingSettings, clips: model_clips.Arrays, n_given: int
) -> float:
  """Returns the frames a second of a single rollout, compiling left out."""
  world = _begun(model, settings, clips, n_given, seed=0)
  action = clips['actions'][:, n_given] if model.config.action_dim else None
  for _ in range(2):
    world.step(action)
  start, n = time.monotonic(), 0
  for _ in range(N_TIMED):
    n += world.step(action).shape[1]
  return n / (time.monotonic() - start)
