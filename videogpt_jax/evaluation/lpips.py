"""LPIPS: perceptual distance of two images, from features of a classifier (AlexNet or VGG-16).

Axes: N images; H W height, width; C channels (I in, O out).
Source: Zhang et al. 2018, eq. 1, version 0.1 of the authors' weights.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import network_state

Backbone = Literal['alex', 'vgg']

# ImageNet's mean and standard deviation on the scale of [-1, 1] colours, as the authors use them.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # added to the norm of a feature vector

# Per stage: convolutions (number in torchvision's `features`, inputs, outputs, width, stride).
_ALEX = (
  ((0, 3, 64, 11, 4),),
  ((3, 64, 192, 5, 1),),
  ((6, 192, 384, 3, 1),),
  ((8, 384, 256, 3, 1),),
  ((10, 256, 256, 3, 1),),
)
_VGG = (
  ((0, 3, 64, 3, 1), (2, 64, 64, 3, 1)),
  ((5, 64, 128, 3, 1), (7, 128, 128, 3, 1)),
  ((10, 128, 256, 3, 1), (12, 256, 256, 3, 1), (14, 256, 256, 3, 1)),
  ((17, 256, 512, 3, 1), (19, 512, 512, 3, 1), (21, 512, 512, 3, 1)),
  ((24, 512, 512, 3, 1), (26, 512, 512, 3, 1), (28, 512, 512, 3, 1)),
)
_STAGES = {'alex': _ALEX, 'vgg': _VGG}
# Windows of the max pools (stride 2) before stages, by stage number.
_POOLS = {'alex': {1: 3, 2: 3}, 'vgg': {1: 2, 2: 2, 3: 2, 4: 2}}
_MIN_SIZE = {'alex': 31, 'vgg': 16}


class LPIPS(nnx.Module):
  """Weighted distances between the features of two images, summed over five stages.

  Args:
    backbone: 'alex', which the authors use for scores, or 'vgg'.
    rngs: initial weights, which import_lpips replaces.
  """

  def __init__(self, backbone: Backbone, *, rngs: nnx.Rngs):
    self.backbone = backbone
    for stage, convolutions in enumerate(_STAGES[backbone]):
      for number, n_in, n_out, width, stride in convolutions:
        padding = 2 if width == 11 else width // 2
        conv = nnx.Conv(
          n_in,
          n_out,
          (width, width),
          strides=stride,
          padding=padding,
          precision=lax.Precision.HIGHEST,
          rngs=rngs,
        )
        setattr(self, f'conv{number}', conv)
      setattr(self, f'lin{stage}', nnx.Param(jnp.zeros(convolutions[-1][2])))

  def __call__(self, images: jax.Array, references: jax.Array) -> jax.Array:
    """Compares images pairwise.

    Args:
      images, references: uint8 or float [N H W 3], RGB from 0 to 255.
    Returns:
      float32 [N]; 0 for equal images, rarely above 1.
    Raises:
      UserError: the images are too small for the network.
    """
    smallest = _MIN_SIZE[self.backbone]
    if min(images.shape[1:3]) < smallest:
      raise UserError(
        f'LPIPS ({self.backbone}) needs images of at least {smallest}x{smallest}, not '
        f'{images.shape[1]}x{images.shape[2]}; omit it for such small frames'
      )
    distance = 0.0
    for stage, pair in enumerate(zip(self._stages(images), self._stages(references), strict=True)):
      x, y = (f / (jnp.linalg.norm(f, axis=-1, keepdims=True) + _EPSILON) for f in pair)
      weights = getattr(self, f'lin{stage}')[...]
      distance += jnp.mean(jnp.sum(jnp.square(x - y) * weights, axis=-1), axis=(1, 2))
    return distance

  def _stages(self, images: jax.Array):
    x = images.astype(jnp.float32) / 127.5 - 1
    x = (x - jnp.array(_SHIFT)) / jnp.array(_SCALE)
    for stage, convolutions in enumerate(_STAGES[self.backbone]):
      if window := _POOLS[self.backbone].get(stage):
        x = nnx.max_pool(x, (window, window), strides=(2, 2))
      for number, *_ in convolutions:
        x = nnx.relu(getattr(self, f'conv{number}')(x))
      yield x


def build(names: Collection[str]) -> LPIPS:
  """Builds the LPIPS whose parameters have these names, such as `conv0.kernel`."""
  backbone = 'vgg' if f'conv{_VGG[-1][-1][0]}.kernel' in names else 'alex'
  return LPIPS(backbone, rngs=nnx.Rngs(0))


def import_lpips(
  backbone: Mapping[str, np.ndarray],
  linear: Mapping[str, np.ndarray],
  file: str = 'the file',
) -> LPIPS:
  """Builds an LPIPS from torchvision's backbone and the authors' linear layers.

  Args:
    backbone: `features.N.weight` and `.bias` of torchvision's alexnet or vgg16.
    linear: `linN.model.1.weight`, float [1 C 1 1], of version 0.1.
    file: source of the tensors, for messages.
  Raises:
    UserError: a tensor is missing or has another shape, or the files belong to different
      backbones.
  """
  name = 'alex' if backbone.get('features.0.weight', np.zeros(0)).shape[-1:] == (11,) else 'vgg'
  arrays = {}
  for key, array in backbone.items():
    layer, number, kind = (*key.split('.'), '', '')[:3]
    if layer == 'features' and kind == 'weight':
      arrays[f'conv{number}', 'kernel'] = einops.rearrange(array, 'O I h w -> h w I O')
    elif layer == 'features' and kind == 'bias':
      arrays[f'conv{number}', 'bias'] = array
  for key, array in linear.items():
    if key.startswith('lin') and key.endswith('.weight'):
      arrays[(key.split('.')[0],)] = array.reshape(-1)
  return network_state.fill(lambda: LPIPS(name, rngs=nnx.Rngs(0)), arrays, file)
