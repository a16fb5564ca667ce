"""Protocols: which clips a score is computed from, and how many, as people report it."""

import dataclasses
from typing import Literal

import numpy as np

from videogpt_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How sets of clips are drawn.

  Attributes:
    name: the value of `--protocol`.
    n_clips: real clips of a trial; 0 takes all.
    n_trials: trials, each with its own samples; scores are mean and standard deviation over them.
    source: publication that uses the protocol.
    samples_per_clip: samples of a trial for each of its real clips.
    split: of the data set, that real clips come from.
    start: of a real clip in its recording; None as in the data set's `test_start`.
    redraws: whether each trial draws real clips anew; otherwise all trials have the same.
    compares: whether real clips are scored against; otherwise they only provide conditions, and
      only the Inception Score is computed.
    n_frames: (conditioning frames, all frames) of a clip; None allows any.
  """

  name: str
  n_clips: int
  n_trials: int
  source: str
  samples_per_clip: int = 1
  split: Literal['train', 'test'] = 'test'
  start: Literal['first', 'random'] | None = None
  redraws: bool = True
  compares: bool = True
  n_frames: tuple[int, int] | None = None

  def __post_init__(self):
    if self.n_clips < 0 or self.n_clips == 1 or self.n_trials < 1:
      raise UserError(
        f'n_clips ({self.n_clips}) must be 0 (all) or at least 2 and n_trials ({self.n_trials}) '
        'at least 1'
      )
    if not self.n_clips and self.n_trials > 1:
      raise UserError(f'n_trials ({self.n_trials}) must be 1 if all clips are taken')

  @property
  def n_samples(self) -> int:
    """Samples of all trials; 0 if it takes all clips."""
    return self.n_clips * self.samples_per_clip * self.n_trials

  def check_length(self, n_frames: int):
    """Refuses clips of another length than the protocol's (UserError)."""
    if self.n_frames and n_frames != self.n_frames[1]:
      given, length = self.n_frames
      raise UserError(
        f'protocol {self.name} scores clips of {length} frames, {given} given and {length - given} '
        f'sampled, but the sets have {n_frames}; set --n_frames={length}, or use --protocol=all'
      )

  def check_frames(self, n_cond_frames: int, n_frames: int):
    """Refuses a model of other clips than the protocol's (UserError)."""
    if self.n_frames not in (None, (n_cond_frames, n_frames)):
      raise UserError(
        f'protocol {self.name} scores {self.n_frames[1]} frames of which {self.n_frames[0]} are '
        f'given, but the model makes {n_frames} of which {n_cond_frames} are given; use '
        '--protocol=videogpt'
      )


PROTOCOLS = {
  protocol.name: protocol
  for protocol in (
    Protocol(
      'videogpt',
      256,
      10,
      "the paper's scripts: 256 samples against the test loader's first batch, in every trial",
      redraws=False,
    ),
    Protocol(
      'stylegan-v',
      2048,
      1,
      'Skorokhodov et al. 2022 (StyleGAN-V), section 3.3',
      split='train',
      start='random',
    ),
    Protocol(
      'tganv2-is',
      2048,
      10,
      'Saito et al. 2020 (TGANv2), section 5.2: Inception Score, whose deviation over 10 loops is '
      "the paper's 0.30",
      compares=False,
    ),
    Protocol(
      'bair-100',
      256,
      1,
      'Babaeizadeh et al. 2018, Lee et al. 2018: 100 futures of each of 256 test clips',
      samples_per_clip=100,
    ),
    Protocol(
      'k600',
      0,
      1,
      'Luc et al. 2020 (TrIVD-GAN): 5 frames in, 11 out, all test clips',
      start='random',
      n_frames=(5, 16),
    ),
    Protocol('2048', 2048, 1, '2,048 against 2,048 test clips'),
    Protocol('10k', 10_000, 1, 'large-sample FVD, with less bias'),
    Protocol('all', 0, 1, 'all clips of both sets; for sets too small for the other protocols'),
  )
}


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """What the stage `evaluate` scores besides likelihoods.

  Attributes:
    fvd_clips: samples that are drawn and scored by FVD against as many held-out clips, where I3D's
      weights are installed; 0 leaves FVD to `python -m videogpt_jax.evaluate`.
  """

  fvd_clips: int = 0

  def __post_init__(self):
    if self.fvd_clips < 0 or self.fvd_clips == 1:
      raise UserError(f'evaluation.fvd_clips ({self.fvd_clips}) must be 0 or at least 2')

  @property
  def protocol(self) -> Protocol:
    """The protocol, called after its number of clips."""
    return Protocol(str(self.fvd_clips), self.fvd_clips, 1, 'the stage evaluate')


def spread(n: int, most: int) -> np.ndarray:
  """Returns at most so many of n places, evenly spaced: neighbours in a set are often alike."""
  return np.linspace(0, n - 1, min(n, most)).astype(int)


@dataclasses.dataclass(frozen=True)
class Draw:
  """The clips of each trial.

  Attributes:
    samples: int64 [n_trials n_clips * samples_per_clip].
    reference: int64 [n_trials n_clips].
    others: int64 [m], real clips that no trial has, at most n_clips of them.
  """

  samples: np.ndarray
  reference: np.ndarray
  others: np.ndarray

  @property
  def conditions(self) -> np.ndarray:
    """The real clip of each sample: int64 [n_trials n_clips * samples_per_clip]."""
    return np.repeat(self.reference, self.samples.shape[1] // self.reference.shape[1], axis=1)


def draw(
  protocol: Protocol, n_samples: int, n_reference: int, seed: int = 0, compared: bool = True
) -> Draw:
  """Draws the clips of all trials.

  No sample is used twice. A trial's real clips are drawn without replacement. Where each has
  several samples, they are in the order of their set, and so are their samples.

  Args:
    protocol: number of clips and trials.
    n_samples, n_reference: clips available.
    seed: of the choice of real clips.
    compared: False if samples are not compared with real clips (Inception Score). Real clips then
      provide conditions only; there may be fewer, which are used in turn.
  Raises:
    UserError: there are too few clips.
  """
  if not protocol.n_clips:
    if min(n_samples, n_reference) < 2:
      raise UserError(
        f'a score needs at least 2 clips in each set, not {n_samples} samples and {n_reference} '
        'real clips; add clips'
      )
    none = np.zeros(0, np.int64)
    return Draw(np.arange(n_samples)[None], np.arange(n_reference)[None], none)
  n, trials, compared = protocol.n_clips, protocol.n_trials, compared and protocol.compares
  each = n * protocol.samples_per_clip
  if n_samples < each * trials or n_reference < (n if compared else 1):
    trial, fewer = (f' ({trials} x {each})', 'lower --n_trials, ') if trials > 1 else ('', '')
    real = f'{n} real clips' if compared else 'a real clip'
    raise UserError(
      f'protocol {protocol.name} needs {each * trials} samples{trial} and {real}, not {n_samples} '
      f'and {n_reference}; add clips, {fewer}or use --protocol=all'
    )
  rng = np.random.default_rng(seed)
  orders = [rng.permutation(n_reference) for _ in range(trials)]
  if not protocol.redraws:
    orders = orders[:1] * trials
  reference = np.stack([np.resize(order, n) for order in orders])
  if protocol.samples_per_clip > 1:  # files hold the samples of the first clip first
    reference = np.sort(reference, axis=1)
  others = np.setdiff1d(orders[0], reference)[:n]
  return Draw(np.arange(each * trials).reshape(trials, each), reference, others)
