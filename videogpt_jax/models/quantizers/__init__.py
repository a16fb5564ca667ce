"""Quantizers: from the latents of a VQ-VAE to codes and back."""

from videogpt_jax.models.quantizers.base import Quantized, Quantizer, QuantizerConfig
from videogpt_jax.models.quantizers.binary import BSQQuantizer, LFQQuantizer
from videogpt_jax.models.quantizers.ema import EMAQuantizer
from videogpt_jax.models.quantizers.fsq import FSQQuantizer

QUANTIZERS: dict[str, type[Quantizer]] = {
  'ema': EMAQuantizer,
  'fsq': FSQQuantizer,
  'lfq': LFQQuantizer,
  'bsq': BSQQuantizer,
}
"""Quantizers by name, the values of `vqvae.quantizer`."""

__all__ = ['QUANTIZERS', 'EMAQuantizer', 'Quantized', 'Quantizer', 'QuantizerConfig']
