"""The whole job: the stages of an experiment, in order, in one folder."""

import dataclasses
import math
import time
from collections.abc import Sequence

import jax
from etils.epath import Path
from flax import nnx

from videogpt_jax import api, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.models.prior import check_attention
from videogpt_jax.stages import evaluate, sample
from videogpt_jax.stages.sample import Conditions
from videogpt_jax.stages.train_prior import Tokenizer, prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training import distributed
from videogpt_jax.training.checkpoint import Checkpoints
from videogpt_jax.training.fit import Data, TrainingConfig, fit
from videogpt_jax.training.logging import RunLog, duration, read_json, record_metrics, say
from videogpt_jax.training.sharding import check_batch, check_prior, host_share, make_mesh
from videogpt_jax.training.step import Stage

STAGES = ('vqvae', 'prior', 'sample', 'evaluate')


def run(experiment: Experiment, path: Path, stages: Sequence[str]):
  """Runs those of `stages` that are not finished, and says what there is in the end.

  Args:
    experiment: what to do.
    path: the workdir.
    stages: some of `STAGES`.
  Raises:
    ValueError: something is impossible. Nothing has been compiled or changed by then.
  """
  started = time.monotonic()
  job = _Run(experiment, path, stages)
  for stage in (s for s in STAGES if s in stages):
    if distributed.from_first(workdir.is_finished(path, experiment, stage)):
      job.say(f'{stage}: finished before')
    else:
      getattr(job, stage)()
  if job.primary:
    say(summary(path, time.monotonic() - started))


class _Run:
  """An experiment in its folder, checked: a method a stage."""

  def __init__(self, experiment: Experiment, path: Path, stages: Sequence[str]):
    for stage in stages or ['']:
      if stage not in STAGES:
        raise ValueError(f'unknown stage {stage!r}; stages are {", ".join(STAGES)}')
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
    self._check_order(stages)
    self.info = self._check_data()
    self._claim()

  def _claim(self):
    """One process writes to the folder, and the others wait until it is theirs."""
    refusal = None
    if self.primary:
      try:
        workdir.claim(self.path, self.experiment)
        workdir.write_class_names(self.path, self.info.class_names or ())
      except ValueError as error:
        refusal = error
    if distributed.from_first(refusal is not None):
      raise refusal or ValueError('process 0 refuses the workdir; its message says why')

  def say(self, line: str):
    """Prints a line, once for all processes."""
    if self.primary:
      say(line)

  def _check_order(self, stages: Sequence[str]):
    """Every stage needs those before it, trained now or earlier."""
    for stage, needs in {'prior': 'vqvae', 'sample': 'prior', 'evaluate': 'prior'}.items():
      if stage in stages and needs not in stages and not workdir.is_trained(self.path, needs):
        raise ValueError(
          f'stage {stage} needs a trained {needs}, which {self.path} does not hold; '
          f'add it: --stages={",".join(s for s in STAGES if s in {*stages, needs})}'
        )

  def _check_data(self):
    """The data set has what the prior is conditioned on."""
    from videogpt_jax.input import pipeline  # imports TensorFlow, which only a run needs

    info, prior = pipeline.describe(self.experiment.dataset), self.experiment.prior
    if self.experiment.prior_codes:
      pipeline.check_codes(self.experiment.prior_codes, prior.n_cond_frames)
    n_classes = len(info.class_names or ())
    if prior.n_classes not in (0, n_classes):
      raise ValueError(
        f'prior.n_classes ({prior.n_classes}) must be 0 (unconditional) or the {n_classes} classes '
        'of the data set'
      )
    if prior.action_dim not in (0, info.action_dim or 0):
      raise ValueError(
        f'prior.action_dim ({prior.action_dim}) must be 0 or the size of the actions in the data '
        f'set ({info.action_dim or 0})'
      )
    return info

  def _data(self, training: TrainingConfig, config: DatasetConfig) -> Data:
    from videogpt_jax.input import pipeline

    seed = self.experiment.seed
    index, count = host_share(self.mesh)
    share = {'process_index': index, 'process_count': count}
    size = training.batch_size
    return Data(
      train=lambda step: pipeline.train_batches(
        config, batch_size=size, seed=seed, start_step=step, **share
      ),
      test=lambda: pipeline.test_batches(config, batch_size=size, **share),
    )

  def _fit(self, stage: Stage, training: TrainingConfig, dataset: DatasetConfig):
    self.say(
      f'{stage.name}: {training.steps} steps of {training.batch_size} clips on {self._devices()}'
    )
    folder = workdir.checkpoints_of(self.path, stage.name)
    with (
      Checkpoints(folder) as checkpoints,
      RunLog(stage.name, training.steps, self.path, writes=self.primary) as log,
    ):
      # Each stage has its own randomness.
      seed = self.experiment.seed + STAGES.index(stage.name)
      fit(stage, training, self._data(training, dataset), self.mesh, checkpoints, log, seed)

  def _devices(self) -> str:
    kind = jax.devices()[0].device_kind
    sizes = ', '.join(f'{axis} {size}' for axis, size in self.mesh.shape.items())
    return f'{self.mesh.size} x {kind} ({sizes})'

  def vqvae(self):
    experiment = self.experiment
    self._fit(vqvae_stage(experiment.vqvae), experiment.vqvae_training, experiment.dataset)

  def prior(self):
    tokenizer = workdir.load_tokenizer(self.path)
    vqvae = nnx.merge(tokenizer.graphdef, tokenizer.state)
    graphdef, *state = nnx.split(vqvae, nnx.Param, ...)
    stage = prior_stage(self.experiment.prior, tokenizer.spec, Tokenizer(graphdef, tuple(state)))
    self._fit(stage, self.experiment.prior_training, self._prior_dataset(tokenizer))

  def _prior_dataset(self, tokenizer: api.Tokenizer) -> DatasetConfig:
    """What the prior trains on: the clips, or codes that this very tokenizer has made of them."""
    dataset, path = self.experiment.dataset, self.experiment.prior_codes
    if not path:
      return dataset
    from videogpt_jax.input.shards import load_manifest

    made_from = load_manifest(path).made_from['codebook_sha256']
    if made_from != tokenizer.codebook_sha256:
      raise ValueError(
        f'prior_codes {path} were made with another VQ-VAE (codebook {made_from[:12]}, not '
        f'{tokenizer.codebook_sha256[:12]}); encode the data set with this one'
      )
    return dataclasses.replace(dataset, source='codes', path=path)

  def sample(self):
    config, seed = self.experiment.sample, self.experiment.seed
    prior = self.experiment.prior
    self.say(f'sample: {config.num} videos')
    model = workdir.load_videogpt(self.path, self.mesh)
    conditions = Conditions()
    if prior.n_cond_frames or prior.action_dim:
      conditions = self._held_out_conditions(config.num)
    names = workdir.class_names(self.path, prior.n_classes)
    if self.mesh.size > 1:
      sample.place(model, self.mesh)
    samples = sample.draw(model, config, seed, conditions, names)
    if self.primary:
      sample.write(samples, self.path, config, seed)
      record_metrics(self.path, {'sample_seconds_per_clip': samples.seconds_per_clip})
      workdir.mark_finished(self.path, self.experiment, 'sample')

  def _held_out_conditions(self, n: int) -> Conditions:
    """What held-out clips give the prior to go on: first frames, actions, classes."""
    from videogpt_jax.input import pipeline

    prior = self.experiment.prior
    batch = next(iter(pipeline.test_batches(self.experiment.dataset, batch_size=n)))
    return Conditions(
      class_label=batch['label'] if prior.n_classes else None,
      frames=batch['video'][:, : prior.n_cond_frames] if prior.n_cond_frames else None,
      actions=batch['actions'] if prior.action_dim else None,
    )

  def evaluate(self):
    self.say('evaluate: every held-out clip')
    model = workdir.load_videogpt(self.path, self.mesh)
    test = self._data(self.experiment.prior_training, self.experiment.dataset).test
    scores = evaluate.score(model, test, self.mesh)
    if self.primary:
      record_metrics(self.path, scores)
      file = self.path / 'reconstructions.gif'
      evaluate.write_reconstructions(model, test, file, self.experiment.sample.fps)
      workdir.mark_finished(self.path, self.experiment, 'evaluate')


FILES = {
  'samples.mp4': 'generated videos, as a grid with their classes',
  'samples.gif': 'the same',
  'samples': 'each generated video apart; samples.json says how they were drawn',
  'reconstructions.gif': 'held-out clips, each original above its reconstruction',
  'metrics.json': 'the figures below',
  'config.json': 'the configuration, as resolved',
  'tensorboard': 'events: tensorboard --logdir on this folder',
  'vqvae/checkpoints': 'the trained VQ-VAE',
  'prior/checkpoints': 'the trained prior',
}

UNITS = {
  'reconstruction_psnr': 'dB, of held-out clips',
  'codebook_perplexity': 'codes, effectively used by held-out clips',
  'codebook_usage': 'of the codes occur in held-out clips',
  'prior_bits_per_code': "bits a code of held-out clips, the prior's cross-entropy",
  'prior_nats_per_code': 'nats a code, the same',
  'prior_bits_per_pixel_dim': "bits of codes a pixel and colour, without the decoder's error",
  'unigram_bits_per_code': 'bits a code, what their frequencies alone could reach',
  'sample_seconds_per_clip': 'seconds a generated video, compiling left out',
}


def summary(path: Path, seconds: float) -> str:
  """Returns the closing lines: each file and each figure."""
  lines = [f'Done in {duration(seconds)}. In {path}:']
  lines += [f'  {file:22s} {text}' for file, text in FILES.items() if (path / file).exists()]
  lines += ['Figures:']
  metrics = read_json(path / 'metrics.json', {})
  lines += [f'  {name:24s} {value:10.4f}  {UNITS.get(name, "")}' for name, value in metrics.items()]
  return '\n'.join(lines)
