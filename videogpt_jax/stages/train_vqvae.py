"""The first stage: the VQ-VAE learns to reconstruct clips from codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.evaluation.image_quality import psnr
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.training.step import Batch, Metrics, Stage, Update

DATA_VARIANCE = 0.06
"""Variance of pixels in [-0.5, 0.5], by which both published codes divide the squared error.

VideoGPT-Paper does so for every data set; the paper's NMSE (table 3) would be this quotient.
"""


def vqvae_stage(config: VQVAEConfig, grid: Sequence[int] | None = None) -> Stage:
  """Returns the stage that trains a VQ-VAE of this configuration, for clips of this latent grid."""
  return Stage(
    name='vqvae',
    create=lambda rngs: VQVAE(config, grid, rngs=rngs),
    updates=(Update('vqvae', loss),),
    evaluate=evaluate,
    summarise=summarise,
    show=show,
    held_out_loss='reconstruction_loss',
  )


def loss(vqvae: VQVAE, frozen: None, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
  """Reconstruction error over the data's variance, plus the commitment loss.

  Source: van den Oord et al. 2017, eq. 3; its middle term is the codebook's moving average.
  """
  out = vqvae(batch['video'], key)
  reconstruction_loss = jnp.mean(jnp.square(out.reconstruction - batch['video'])) / DATA_VARIANCE
  losses = {'reconstruction_loss': reconstruction_loss, **out.quantized.losses}
  return sum(losses.values()), losses | out.quantized.statistics


def evaluate(vqvae: VQVAE, frozen: None, batch: Batch) -> Metrics:
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


def summarise(means: Mapping[str, Any]) -> dict[str, float]:
  """Scores of all clips from the means over them."""
  counts = means['code_counts']
  return {
    'reconstruction_loss': float(means['reconstruction_loss']),
    'reconstruction_psnr': float(means['psnr']),
    'codebook_perplexity': codes_stats.codebook_perplexity(counts),
    'codebook_usage': codes_stats.codebook_usage(counts),
    'unigram_bits_per_code': codes_stats.unigram_bits_per_code(counts),
  }


def show(vqvae: VQVAE, frozen: None, batch: Batch) -> dict[str, jax.Array]:
  """Eight clips above their reconstructions: float32 [B T 2H W 3]."""
  video = batch['video'][:8]
  reconstruction = jnp.clip(vqvae.decode(vqvae.encode(video)), -0.5, 0.5)
  return {'reconstructions': jnp.concatenate([video, reconstruction], axis=2)}
