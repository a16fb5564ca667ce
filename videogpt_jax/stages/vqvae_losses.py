"""The losses of a VQ-VAE: of pixels and of their gradients, perceptual and adversarial.

Axis letters: B batch; T H W frames, height, width; C channels of features.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from videogpt_jax.models.trained import Trained
from videogpt_jax.models.vqvae import VQVAE, VQVAEOutput
from videogpt_jax.training.optimizer import global_norm
from videogpt_jax.training.step import Batch, Metrics
from videogpt_jax.training.vqvae_loss import LossConfig

DATA_VARIANCE = 0.06
"""Variance of pixels in [-0.5, 0.5], by which both published codes divide the squared error.

VideoGPT-Paper does so for every data set; the paper's NMSE (table 3) would be this quotient.
"""

GRADIENT_SCALES = 3
"""Sizes at which gradients are compared: whole, half and quarter, as far as pixels go."""

LARGEST_ADAPTIVE = 1e4
"""Bound of the adaptive weight, the source's."""

LOGIT_DECAY = 0.99
"""Decay rate of the running means of logits, which LeCam needs."""

PLAIN = LossConfig()


def similarity(
  config: LossConfig, perceptual: Trained | None, reconstruction: jax.Array, video: jax.Array
) -> tuple[jax.Array, Metrics]:
  """Returns how much a reconstruction differs from its video, and the parts of this sum."""
  error = jnp.mean(jnp.square(reconstruction - video)) / DATA_VARIANCE
  losses = {'reconstruction_loss': error}
  if config.gradient_weight:
    differ = gradient_difference(reconstruction, video).mean() / DATA_VARIANCE
    losses['gradient_loss'] = config.gradient_weight * differ
  if perceptual is not None:
    distance = perceptual.module()(reconstruction, video).mean()
    losses['perceptual_loss'] = config.perceptual_weight * distance
  return sum(losses.values()), losses


def gradient_difference(reconstruction: jax.Array, video: jax.Array) -> jax.Array:
  """Squared differences of the absolute differences of neighbouring pixels, at several scales.

  One scale alone is met by a grid of single pixels, which no other scale takes for grain.

  Source: Mathieu et al. 2016 (arXiv 1511.05440), eq. 6 with alpha = 2, at each of their scales.

  Args:
    reconstruction, video: float32 [B T H W 3].

  Returns:
    float32 [B], the sum over scales (each of half the size, `GRADIENT_SCALES` of them) and both
    directions of means over pixels.
  """
  total = jnp.zeros(video.shape[0])
  pair = [rearrange(x, 'B T H W C -> B (T C) H W 1') for x in (reconstruction, video)]
  for _ in range(GRADIENT_SCALES):
    for axis in (2, 3):
      slopes = [jnp.abs(jnp.diff(x, axis=axis)) for x in pair]
      total += jnp.square(slopes[0] - slopes[1]).mean(axis=(1, 2, 3, 4))
    if min(pair[0].shape[2:4]) < 4:
      break
    pair = [nnx.avg_pool(x, (2, 2), (2, 2)) for x in pair]
  return total


def loss(
  vqvae: VQVAE,
  perceptual: Trained | None,
  batch: Batch,
  key: jax.Array,
  config: LossConfig = PLAIN,
) -> tuple[jax.Array, Metrics]:
  """The squared error over the data's variance, the quantizer's losses, and those of `config`.

  Source: van den Oord et al. 2017, eq. 3; its middle term is the codebook's moving average.
  """
  out = vqvae(batch['video'], key)
  if config.adversarial:
    similar, losses = adversarial(config, vqvae, perceptual, batch, out)
  else:
    similar, losses = similarity(config, perceptual, out.reconstruction, batch['video'])
  total = sum(out.quantized.losses.values(), similar)
  return total, losses | out.quantized.losses | out.quantized.statistics


def adversarial(
  config: LossConfig,
  vqvae: VQVAE,
  perceptual: Trained | None,
  batch: Batch,
  out: VQVAEOutput,
) -> tuple[jax.Array, Metrics]:
  """Returns the similarity plus the weighted adversarial loss, and the parts of this sum.

  The adversarial loss is minus the mean logit of reconstructions. Its adaptive weight is the norm
  of the similarity's gradient over that of its own, both for the decoder's last convolution. Each
  network is differentiated once, at the reconstruction; a product with these gradients then carries
  them to the parameters.

  Source: Esser et al. 2021 (arXiv 2012.09841), eq. 6 and 7.
  """
  discriminator = vqvae.discriminator
  fixed, zero = jax.lax.stop_gradient(out.reconstruction), jnp.zeros_like(out.reconstruction)
  differ = lambda x: similarity(config, perceptual, x, batch['video'])
  (similar, losses), of_similarity = jax.value_and_grad(differ, has_aux=True)(fixed)
  fool = lambda x: -jnp.mean(discriminator(x))
  begun = discriminator.begun[...]
  fooling, of_fooling = jax.lax.cond(
    begun, jax.value_and_grad(fool), lambda x: (jnp.zeros(()), zero), fixed
  )
  weight = config.adversarial_weight * begun
  if config.adaptive_weight:
    norms = _norms_at_last_layer(vqvae, out.features, (of_similarity, of_fooling))
    weight *= jnp.clip(norms[0] / (norms[1] + 1e-4), 0, LARGEST_ADAPTIVE)
  weight, total = jax.lax.stop_gradient((weight, similar + weight * fooling))
  gradient = jax.lax.stop_gradient(of_similarity + weight * of_fooling)
  carried = jnp.sum(gradient * out.reconstruction)
  losses |= {'adversarial_loss': fooling, 'adversarial_weight': weight}
  return total + carried - jax.lax.stop_gradient(carried), losses


def _norms_at_last_layer(
  vqvae: VQVAE, features: jax.Array, gradients: tuple[jax.Array, ...]
) -> list[jax.Array]:
  """Returns the norms of gradients for the decoder's last convolution.

  Args:
    vqvae: the model.
    features: what this convolution takes, [B T H W C].
    gradients: for the reconstruction, [B T H W 3] each.
  """
  graph, state = nnx.split(vqvae.decoder.last)
  fixed = jax.lax.stop_gradient((state, features))
  reconstruct = lambda state: nnx.merge(graph, state)(fixed[1]).astype(jnp.float32)
  _, pull = jax.vjp(reconstruct, fixed[0])
  return [global_norm(pull(gradient)[0]) for gradient in gradients]


def discriminator_loss(
  vqvae: VQVAE, perceptual: Any, batch: Batch, key: jax.Array, config: LossConfig
) -> tuple[jax.Array, Metrics]:
  """Half the hinge losses of real clips and of their reconstructions, plus the regularisers.

  R1 is r1_weight / 2 times the squared norm of the gradient of a real clip's logits, summed, for
  the clip (Mescheder et al. 2018, arXiv 1801.04406). LeCam is lecam_weight times the squared
  distances of real logits from the running mean of fake ones, and of fake from real (Tseng et al.
  2021, arXiv 2104.03310).
  """
  del perceptual
  video, discriminator = batch['video'], vqvae.discriminator
  # A copy, whose statistics and codebook learn nothing from this second look at the batch.
  copied = nnx.clone(vqvae)(video, key)
  real, fake = (discriminator(x) for x in (video, jax.lax.stop_gradient(copied.reconstruction)))
  losses = {'hinge_loss': 0.5 * (nnx.relu(1 - real).mean() + nnx.relu(1 + fake).mean())}
  means = {'real': jax.lax.stop_gradient(real.mean()), 'fake': jax.lax.stop_gradient(fake.mean())}
  if config.r1_weight:
    slopes = jax.grad(lambda x: discriminator(x).sum())(video)
    penalty = jnp.sum(jnp.square(slopes), axis=(1, 2, 3, 4)).mean()
    losses['r1_loss'] = config.r1_weight / 2 * penalty
  if config.lecam_weight:
    average = _follow(discriminator, means)
    apart = jnp.square(real - average['fake']).mean() + jnp.square(fake - average['real']).mean()
    losses['lecam_loss'] = config.lecam_weight * apart
  discriminator.begun[...] = jnp.ones((), bool)
  return sum(losses.values()), losses | {f'{name}_logits': x for name, x in means.items()}


def _follow(discriminator: nnx.Module, means: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
  """Moves the running means of logits, which begin with the first ones, and returns them."""
  moved = {}
  for name, mean in means.items():
    average = getattr(discriminator, name)
    old = jnp.where(discriminator.begun[...], average[...], mean)
    moved[name] = LOGIT_DECAY * old + (1 - LOGIT_DECAY) * mean
    average[...] = moved[name]
  return moved
