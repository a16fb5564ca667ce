"""The stages that train; the prior's with shapes in place of arrays, to plan with and to check."""

from videogpt_jax.config import Experiment
from videogpt_jax.loading import abstract_vqvae
from videogpt_jax.stages.perceptual import load_perceptual
from videogpt_jax.stages.train_prior import prior_stage
from videogpt_jax.stages.train_vqvae import vqvae_stage
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.step import Stage


def stage_of(name: str, experiment: Experiment) -> tuple[Stage, TrainingConfig]:
  """Returns a stage and its training settings; the prior's tokenizer is shapes only."""
  if name == 'vqvae':
    losses = experiment.vqvae_loss
    stage = vqvae_stage(
      experiment.vqvae, experiment.codes.latent_shape, losses, load_perceptual(losses)
    )
    return stage, experiment.vqvae_training
  return prior_stage(experiment.prior, abstract_vqvae(experiment)), experiment.prior_training
