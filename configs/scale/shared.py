"""Settings shared by the scaled priors: 128x128 clips, the published 4x4x4 VQ-VAE, a modern prior.

The blocks have rotary positions, QK norm, RMS norm and SwiGLU, heads of 128 (the width of a TPU's
matrix unit), bfloat16 compute with float32 parameters, and keep only their inputs for the gradient.
There is no dropout: training covers a data set of this size a few times at most, and the TPU's
attention kernel has none. Nothing here has been trained; sizes, memory and times come from
`videogpt_jax.plan`.
"""

from configs import paper
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.optimizer import OptimizerConfig
from videogpt_jax.training.sharding import MeshConfig

FRAMES = (16, 64)


def experiment(
  name: str, frames: str, prior: PriorConfig, batch_size: int, mesh: MeshConfig
) -> Experiment:
  """Returns a prior of the given sizes on Kinetics-600.

  Args:
    name: of the configuration.
    frames: of a clip, '16' or '64'; the latent is 4x32x32 or 16x32x32.
    prior: its sizes.
    batch_size: clips a step.
    mesh: recommended by `plan` for the configuration's slice.
  """
  if not (frames.isdigit() and int(frames) in FRAMES):
    raise UserError(f'frames ({frames!r}) must be one of {", ".join(map(str, FRAMES))}')
  return Experiment(
    name=f'{name}_{frames}',
    dataset=paper.shards('kinetics600', 128, sequence_length=int(frames)),
    vqvae=VQVAEConfig(downsample=(4, 4, 4), dtype='bfloat16'),
    vqvae_training=paper.vqvae_training(),
    prior=prior,
    prior_training=TrainingConfig(
      steps=100_000,
      batch_size=batch_size,
      optimizer=OptimizerConfig(
        learning_rate=3e-4, warmup_steps=2_000, b2=0.95, weight_decay=0.1, schedule='cosine'
      ),
    ),
    mesh=mesh,
  )


def prior(hidden_dim: int, n_layers: int, mlp_dim: int) -> PriorConfig:
  """A prior of this width and depth, with heads of 128."""
  return PriorConfig(
    hidden_dim=hidden_dim,
    n_heads=hidden_dim // 128,
    n_layers=n_layers,
    mlp_dim=mlp_dim,
    dropout=0.0,
    attn_dropout=0.0,
    positions='rotary',
    qk_norm=True,
    norm='rms',
    mlp='swiglu',
    remat='full',
    dtype='bfloat16',
  )
