"""The first stage: the VQ-VAE learns to reconstruct clips from codes."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.evaluation.image_quality import psnr
from videogpt_jax.models.discriminator import Discriminator
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.stages.vqvae_losses import DATA_VARIANCE, discriminator_loss, loss
from videogpt_jax.training.paths import DISCRIMINATOR
from videogpt_jax.training.step import Batch, Metrics, Stage, Update
from videogpt_jax.training.vqvae_loss import LossConfig


def vqvae_stage(
  config: VQVAEConfig,
  grid: Sequence[int] | None = None,
  losses: LossConfig | None = None,
  perceptual: Trained | None = None,
) -> Stage:
  """Returns the stage that trains a VQ-VAE of this configuration.

  Args:
    config: of the VQ-VAE.
    grid: latent grid of the clips; only position embeddings and a discriminator need it.
    losses: beside the squared error; none by default.
    perceptual: the network of the perceptual loss, see `perceptual.load_perceptual`.
  """
  losses = losses or LossConfig()

  def create(rngs: nnx.Rngs) -> VQVAE:
    vqvae = VQVAE(config, grid, rngs=rngs)
    if losses.adversarial:
      clip = tuple(n * factor for n, factor in zip(grid[:3], config.downsample, strict=True))
      sizes = losses.discriminator_hiddens, losses.discriminator_layers
      vqvae.discriminator = Discriminator(*sizes, clip, rngs=rngs)
    return vqvae

  own = nnx.PathContains(DISCRIMINATOR)
  update = Update('vqvae', functools.partial(loss, config=losses))
  of_discriminator = Update(
    DISCRIMINATOR,
    functools.partial(discriminator_loss, config=losses),
    own,
    losses.discriminator_optimizer,
    first_step=losses.adversarial_start,
  )
  pair = dataclasses.replace(update, params=nnx.Not(own)), of_discriminator
  return Stage(
    name='vqvae',
    create=create,
    updates=pair if losses.adversarial else (update,),
    evaluate=evaluate,
    summarise=summarise,
    show=show,
    frozen=perceptual,
    held_out_loss='reconstruction_loss',
  )


def evaluate(vqvae: VQVAE, frozen: Any, batch: Batch) -> Metrics:
  """Per clip: reconstruction error and mean PSNR of its frames (dB), [B]; counts, [B G K]."""
  codes = vqvae.encode(batch['video'])
  decoded = vqvae.decode(codes)
  error = jnp.mean(jnp.square(decoded - batch['video']), axis=(1, 2, 3, 4))
  reconstruction = jnp.clip(decoded, -0.5, 0.5)
  return {
    'reconstruction_loss': error / DATA_VARIANCE,
    'psnr': psnr(reconstruction, batch['video']).mean(axis=1),
    'code_counts': code_counts(codes, vqvae.config.n_codes),
  }


def code_counts(codes: jax.Array, n_codes: int) -> jax.Array:
  """Counts each code of each codebook in each clip: int32 [B t h w (G)] -> float32 [B G K]."""
  by_book = rearrange(codes if codes.ndim == 5 else codes[..., None], 'B t h w G -> B G (t h w)')
  count = jax.vmap(jax.vmap(lambda codes: jnp.bincount(codes, length=n_codes)))
  return count(by_book).astype(jnp.float32)


def summarise(means: Mapping[str, Any], n_clips: int) -> dict[str, float]:
  """Scores of all clips from the means over them."""
  counts = np.asarray(means['code_counts']) * n_clips
  return {
    'reconstruction_loss': float(means['reconstruction_loss']),
    'reconstruction_psnr': float(means['psnr']),
    'codebook_perplexity': codes_stats.codebook_perplexity(counts),
    'codebook_usage': codes_stats.codebook_usage(counts),
    'codebook_usage_possible': codes_stats.possible_usage(counts),
    'unigram_bits_per_code': codes_stats.unigram_bits_per_code(counts),
  }


def show(vqvae: VQVAE, frozen: Any, batch: Batch) -> dict[str, jax.Array]:
  """Eight clips above their reconstructions: float32 [B T 2H W 3]."""
  video = batch['video'][:8]
  reconstruction = jnp.clip(vqvae.decode(vqvae.encode(video)), -0.5, 0.5)
  return {'reconstructions': jnp.concatenate([video, reconstruction], axis=2)}
