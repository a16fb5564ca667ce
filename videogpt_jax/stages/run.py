"""The whole job: the stages of an experiment, in order, in one folder."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from etils.epath import Path

from videogpt_jax import memory, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import record
from videogpt_jax.input import replaced
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.loading import load_videogpt, load_vqvae
from videogpt_jax.models.conditioners import from_batch
from videogpt_jax.models.prior import check_attention
from videogpt_jax.stages import (
  checks,
  clips,
  draw,
  encoded,
  held_out,
  init_from,
  report,
  score_samples,
  shapes,
)
from videogpt_jax.stages.summary import summary
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.training import distributed, trackers, watch
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.fit import fit
from videogpt_jax.training.lock import lock
from videogpt_jax.training.logging import RunLog, read_metrics, record_metrics, say
from videogpt_jax.training.numbers import DivergedError
from videogpt_jax.training.profiling import Profiler, ProfileSteps
from videogpt_jax.training.sharding import check_batch, check_prior, make_mesh
from videogpt_jax.training.signals import Signals
from videogpt_jax.training.step import Stage
from videogpt_jax.training.writers import OfStage, Writer

STAGES = ('vqvae', 'prior', 'sample', 'evaluate')


def run(
  experiment: Experiment,
  path: Path,
  stages: Sequence[str],
  profile: ProfileSteps | None = None,
):
  """Runs those of `stages` that are not finished, and reports what exists at the end.

  Args:
    experiment: what to do.
    path: the workdir.
    stages: some of `STAGES`.
    profile: steps of each trained stage to trace.
  Raises:
    UserError: something is impossible. Nothing has been compiled or changed by then.
  """
  started = time.monotonic()
  with contextlib.ExitStack() as held:
    if not jax.distributed.is_initialized():
      held.enter_context(Signals(saves=False))
    job = _Run(experiment, path, stages, held, profile)
    try:
      _run(job, stages, started)
    finally:
      if job.primary:
        report.write(path, ended=True)


def _run(job: '_Run', stages: Sequence[str], started: float):
  experiment, path = job.experiment, job.path
  for stage in (s for s in STAGES if s in stages):
    if distributed.from_first(workdir.is_finished(path, experiment, stage)):
      job.say(f'{stage}: finished before')
    elif stage in workdir.TRAINED:
      getattr(job, stage)()
    else:
      begun = time.monotonic()
      with Signals(saves=False):
        getattr(job, stage)()
      if job.primary:
        report.write_stage(path, stage, time.monotonic() - begun, job.devices())
        report.write(path)
  for line in replaced.report():  # each process reads its own clips
    say(line)
  if job.primary:
    for tracker in job.trackers:
      OfStage(tracker, 'figures').write_scalars(0, read_metrics(path))
    say(summary(path, time.monotonic() - started))


class _Run:
  """An experiment in its folder, checked: a method a stage. `held` keeps lock and trackers."""

  def __init__(
    self,
    experiment: Experiment,
    path: Path,
    stages: Sequence[str],
    held: contextlib.ExitStack,
    profile: ProfileSteps | None,
  ):
    for stage in stages or ['']:
      if stage not in STAGES:
        raise UserError(f'unknown stage {stage!r}; stages are {", ".join(STAGES)}')
    self.experiment, self.path = experiment, path
    self.mesh = make_mesh(experiment.mesh)
    self.primary = jax.process_index() == 0
    for section in ('vqvae_training', 'prior_training'):
      training = getattr(experiment, section)
      check_batch(training.batch_size, self.mesh, training.grad_accum_steps, section)
    length = math.prod(experiment.codes.latent_shape)
    check_prior(experiment.prior.n_heads, length, self.mesh)
    if 'prior' in stages:
      check_attention(experiment.prior, experiment.codes.latent_shape)
      if experiment.prior_crops and jax.process_count() > 1:
        raise UserError(
          'prior_crops is for one process; encode first, with python -m videogpt_jax.encode, and '
          'name the codes with prior_codes'
        )
    self._check_order(stages)
    self.profile = profile
    self._check_profile(stages)
    for stage in (s for s in workdir.TRAINED if s in stages and self._begins_elsewhere(s)):
      for line in init_from.check(shapes.stage_of(stage, experiment)[0], experiment):
        self.say(line)
    self.data = None
    self.trackers: list[Writer] = []
    if self._needs_data(stages):
      self.say('loading TensorFlow and looking at the data set')
      self.data = checks.check_data(experiment)
    self._claim(held)
    shared = jax.process_count() > 1 and '://' not in str(path)  # a bucket is too slow for it
    self.watch = held.enter_context(watch.Watch(path / watch.HOSTS if shared else None))

  def _claim(self, held: contextlib.ExitStack):
    """One process writes to the folder, and the others wait until it is theirs."""
    refusal = None
    if self.primary:
      try:
        held.enter_context(lock(self.path))
        for line in workdir.claim(self.path, self.experiment):
          self.say(line)
        watch.clear(self.path / watch.HOSTS)
        if self.data is not None:
          workdir.write_names(self.path, 'classes', self.data.class_names or ())
          workdir.write_names(self.path, 'actions', self.data.action_names)
          workdir.write_frame_rate(self.path, self.data.frame_rate)
        self._track(held)
      except UserError as error:
        refusal = error
    if distributed.from_first(refusal is not None):
      raise refusal or UserError('process 0 refuses the workdir; its message says why')

  def _track(self, held: contextlib.ExitStack):
    config, name = self.experiment.tracking, self.experiment.name
    settings = dataclasses.asdict(self.experiment)
    warn = lambda line: say(f'warning: {line}')
    self.trackers = held.enter_context(trackers.opened(config, self.path, name, settings, warn))

  def say(self, line: str):
    """Prints a line, once for all processes."""
    if self.primary:
      say(line)

  def _check_order(self, stages: Sequence[str]):
    """Every stage needs those before it, trained now or earlier."""
    for stage, needs in {'prior': 'vqvae', 'sample': 'prior', 'evaluate': 'prior'}.items():
      if stage in stages and needs not in stages and not workdir.is_trained(self.path, needs):
        raise UserError(
          f'stage {stage} needs a trained {needs}, which {self.path} does not hold; '
          f'add it: --stages={",".join(s for s in STAGES if s in {*stages, needs})}'
        )

  def _check_profile(self, stages: Sequence[str]):
    for stage in (s for s in workdir.TRAINED if self.profile and s in stages):
      self.profile.check(stage, getattr(self.experiment, f'{stage}_training').steps)
    if self.profile and '://' in str(self.path):
      raise UserError(f'--profile_steps needs a workdir on a disk, not {self.path}')

  def _needs_data(self, stages: Sequence[str]) -> bool:
    """Every stage reads clips, but for sampling that no held-out clip has to condition."""
    prior = self.experiment.prior
    return set(stages) != {'sample'} or bool(prior.n_cond_frames or prior.action_dim)

  def _fit(self, stage: Stage, training: TrainingConfig, train: DatasetConfig, test: DatasetConfig):
    memory.check_training(stage.name, stage.abstract()[1])
    self.say(
      f'{stage.name}: {training.steps} steps of {training.batch_size} clips on {self.devices()}'
    )
    self.say(f'{stage.name}: opening the clips and compiling the train step')
    folder, best = (of(self.path, stage.name) for of in (workdir.checkpoints_of, workdir.best_of))
    with (
      Checkpoints(folder, training.keep) as checkpoints,
      Checkpoints(best, keep=1) if training.keep_best else contextlib.nullcontext() as kept,
      RunLog(
        stage.name,
        training.steps,
        self.path,
        writes=self.primary,
        devices=self.devices(),
        report=lambda: report.write(self.path),
        trackers=self.trackers,
      ) as log,
    ):
      # Each stage has its own randomness.
      seed = self.experiment.seed + STAGES.index(stage.name)
      data = clips.of_training(self.experiment, self.mesh, training, train, test)
      try:
        fit(
          *(stage, training, data, self.mesh, checkpoints, log, seed),
          best=kept,
          watch=self.watch,
          profiler=self._profiler(stage.name),
        )
      except DivergedError:
        if self.primary:
          workdir.mark_diverged(self.path, stage.name)
        raise
    if self.primary:
      workdir.unmark_diverged(self.path, stage.name)

  def _profiler(self, stage: str) -> Profiler:
    tell = lambda line: self.say(f'{stage}: {line}')
    steps = self.profile if self.primary else None
    return Profiler(steps, self.path / 'tensorboard' / stage, tell)

  def _begins_elsewhere(self, stage: str) -> bool:
    training = getattr(self.experiment, f'{stage}_training')
    return bool(training.init_from) and not workdir.has_checkpoints(self.path, stage)

  def devices(self) -> str:
    """Returns what this runs on, in words."""
    kind = jax.devices()[0].device_kind
    sizes = ', '.join(f'{axis} {size}' for axis, size in self.mesh.shape.items())
    return f'{self.mesh.size} x {kind} ({sizes})'

  def vqvae(self):
    experiment = self.experiment
    training = experiment.vqvae_training
    n_clips = training.batch_size // training.grad_accum_steps
    latents = n_clips * math.prod(experiment.codes.latent_shape[:3])
    if experiment.vqvae.quantizer == 'ema' and experiment.vqvae.n_codes > latents:
      self.say(
        f'warning: the codebook has {experiment.vqvae.n_codes} codes and a step {latents} latents, '
        'so most codes are redrawn every step and never settle; lower vqvae.n_codes or raise '
        'vqvae_training.batch_size'
      )
    stage, training = shapes.stage_of('vqvae', experiment)
    if self._begins_elsewhere('vqvae'):
      stage, _ = init_from.begin(stage, training, self.mesh)
    stage = dataclasses.replace(stage, summarise=self._noting_codes(stage.summarise))
    self._fit(stage, training, experiment.dataset, experiment.dataset)

  def _noting_codes(self, summarise: Callable[..., dict]) -> Callable[..., dict]:
    """Returns `summarise` of the VQ-VAE, which also writes down how often each code occurs."""

    def noting(means, n_clips):
      if self.primary:
        report.write_codes(self.path, means['code_counts'])
      return summarise(means, n_clips)

    return noting

  def prior(self):
    experiment, tokenizer = self.experiment, load_vqvae(self.path)
    stage = prior_stage(experiment.prior, tokenizer, experiment.previews)
    training = experiment.prior_training
    if self._begins_elsewhere('prior'):
      stage, theirs = init_from.begin(stage, training, self.mesh)
      if theirs.digest != tokenizer.digest:
        self.say(
          f'warning: the prior of {training.init_from} was trained on the codes of another VQ-VAE; '
          'its codes mean something else here (--config.vqvae_training.init_from with '
          '--config.vqvae_training.steps=0 takes that VQ-VAE as it is)'
        )
    if experiment.prior_crops:
      codes = encoded.in_workdir(experiment, tokenizer, self.path)
      experiment = dataclasses.replace(experiment, prior_codes=codes, prior_crops=0)
    self._fit(stage, training, *clips.of_prior(experiment, tokenizer))

  def sample(self):
    config, seed = self.experiment.sample, self.experiment.seed
    self.say(f'sample: {config.num} videos; loading the models')
    self._say_in_use()
    model = load_videogpt(self.path, self.mesh)
    samples = draw.draw(model, config, seed, conditions=self._held_out_conditions(config.num))
    if self.primary:
      draw.write(samples, self.path, config, seed, frame_rate=model.cut.frame_rate)
      record_metrics(self.path, {'sample_seconds_per_clip': samples.seconds_per_clip})
      workdir.mark_finished(self.path, self.experiment, 'sample')

  def _say_in_use(self):
    for line in workdir.in_use(self.path):
      self.say(line)

  def _held_out_conditions(self, n: int) -> dict:
    """Returns the first frames, actions and classes of held-out clips, where a prior needs them."""
    prior = self.experiment.prior
    if not self._needs_data(['sample']):
      return {}
    from videogpt_jax.input import pipeline

    batch = pipeline.first_test_clips(self.experiment.dataset, n)
    n_clips = len(batch['video'])
    if n_clips < n:
      self.say(f'sample: the {n_clips} held-out clips take turns in conditioning {n} videos')
    turns = np.arange(n) % n_clips
    return {name: x[turns] for name, x in from_batch(batch, prior).items()}

  def evaluate(self):
    self.say('evaluate: every held-out clip; loading and compiling the models')
    self._say_in_use()
    model = load_videogpt(self.path, self.mesh)
    test = clips.to_evaluate(self.experiment, self.mesh)
    scores, counts = held_out.score(model, test, self.mesh)
    if self.primary:
      record_metrics(self.path, record.as_metrics(record.of_estimates(scores)))
      file = self.path / 'reconstructions.gif'
      fps = self.experiment.sample.frame_rate(model.cut.frame_rate)
      held_out.write_reconstructions(model, test, file, fps)
    if self.experiment.evaluation.fvd_clips:
      score_samples.score(model, self.experiment, self.path, self.say)
    if self.primary:
      report.write_codes(self.path, counts)
      workdir.mark_finished(self.path, self.experiment, 'evaluate')
