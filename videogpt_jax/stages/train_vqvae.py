"""The first stage: the VQ-VAE learns to reconstruct clips from codes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from videogpt_jax.evaluation import code_statistics as codes_stats
from videogpt_jax.evaluation.image_quality import psnr
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.training.step import Batch, Metrics, Stage

DATA_VARIANCE = 0.06
"""Variance of pixels in [-0.5, 0.5], by which the published code divides the squared error."""


def vqvae_stage(config: VQVAEConfig) -> Stage:
  """Returns the stage that trains a VQ-VAE of this configuration."""
  return Stage(
    name='vqvae',
    create=lambda rngs: VQVAE(config, rngs=rngs),
    loss=loss,
    evaluate=evaluate,
    summarise=summarise,
    show=show,
  )


def loss(vqvae: VQVAE, frozen: None, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
  """Reconstruction error over the data's variance, plus the commitment loss.

  Source: van den Oord et al. 2017, eq. 3; its middle term is the codebook's moving average.
  """
  out = vqvae(batch['video'], key)
  reconstruction_loss = jnp.mean(jnp.square(out.reconstruction - batch['video'])) / DATA_VARIANCE
  metrics = {
    'reconstruction_loss': reconstruction_loss,
    'commitment_loss': out.quantized.commitment_loss,
    'batch_codebook_perplexity': out.quantized.perplexity,
  }
  return reconstruction_loss + out.quantized.commitment_loss, metrics


def evaluate(vqvae: VQVAE, frozen: None, batch: Batch) -> Metrics:
  """Per clip: mean PSNR of its frames (dB), [B]; how often it uses each code, [B K]."""
  codes = vqvae.encode(batch['video'])
  reconstruction = jnp.clip(vqvae.decode(codes), -0.5, 0.5)
  return {
    'psnr': psnr(reconstruction, batch['video']).mean(axis=1),
    'code_counts': code_counts(codes, vqvae.config.n_codes),
  }


def code_counts(codes: jax.Array, n_codes: int) -> jax.Array:
  """Counts each code in each clip: int32 [B ...] -> float32 [B K]."""
  flat = codes.reshape(codes.shape[0], -1)
  return jax.vmap(lambda c: jnp.bincount(c, length=n_codes))(flat).astype(jnp.float32)


def summarise(means: Mapping[str, Any]) -> dict[str, float]:
  """Scores of all clips from the means over them."""
  counts = means['code_counts']
  return {
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
