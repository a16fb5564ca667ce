"""Networks that the perceptual loss looks through: I3D's first convolutions, or LPIPS.

Axis letters: B batch; T H W frames, height, width; C channels.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax import optional
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import networks
from videogpt_jax.evaluation.feature_networks import i3d_file
from videogpt_jax.evaluation.i3d import I3D
from videogpt_jax.evaluation.lpips import LPIPS
from videogpt_jax.models.trained import Trained, trained
from videogpt_jax.training.vqvae_loss import LossConfig

EPSILON = 1e-10
"""Added to the squared norm of a feature vector."""


class FeatureDistance(nnx.Module):
  """Distance of two videos by the features of I3D's first convolutions."""

  def __init__(self, network: I3D):
    self.stem = network.stem_only()

  def __call__(self, video: jax.Array, reference: jax.Array) -> jax.Array:
    """Compares float32 [B T H W 3] in [-0.5, 0.5]: float32 [B], 0 for equal videos, at most 4.

    As in LPIPS, features of a place are divided by their norm; all channels weigh alike.
    """
    distances = []
    for pair in zip(*(self.stem.features(2 * x) for x in (video, reference)), strict=True):
      x, y = (f / jnp.sqrt(jnp.sum(jnp.square(f), -1, keepdims=True) + EPSILON) for f in pair)
      distances.append(jnp.sum(jnp.square(x - y), axis=-1).mean(axis=(1, 2, 3)))
    return sum(distances) / len(distances)


class FrameDistance(nnx.Module):
  """LPIPS of two videos, frame by frame."""

  def __init__(self, network: LPIPS):
    self.network = network

  def __call__(self, video: jax.Array, reference: jax.Array) -> jax.Array:
    """Compares float32 [B T H W 3] in [-0.5, 0.5]: float32 [B], the mean over frames."""
    frames = (rearrange(255 * (x + 0.5), 'B T H W C -> (B T) H W C') for x in (video, reference))
    return self.network(*frames).reshape(video.shape[:2]).mean(axis=1)


def load_perceptual(config: LossConfig) -> Trained | None:
  """Returns the network of the perceptual loss, or None if there is no such loss.

  Raises:
    UserError: it has no weights, or a file is missing, unknown or damaged.
  """
  if not config.perceptual:
    return None
  files = [file for file in config.perceptual_files.split(',') if file]
  if config.perceptual == 'i3d':
    files = files or [file for file in [i3d_file(None)] if file]
  wanted, make = {'i3d': (1, FeatureDistance), 'lpips': (2, FrameDistance)}[config.perceptual]
  if len(files) != wanted:
    brings = f"{optional.install('fvd')} brings I3D's"
    remedy = brings if config.perceptual == 'i3d' else 'LPIPS has two'
    raise UserError(
      f'vqvae_loss.perceptual={config.perceptual} needs {wanted} file(s) of weights, and '
      f'vqvae_loss.perceptual_files gives {len(files)}; {remedy} (docs/evaluation.md)'
    )
  return trained(make(networks.load_network(config.perceptual, files)))
