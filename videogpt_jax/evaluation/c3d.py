"""C3D, the UCF-101 classifier for the Inception Score of video models.

The network takes 16 frames of 112x112.

Axes: B batch; T H W frames, height, width; C channels (I in, O out).
Source: Tran et al. 2015, section 3.3; Saito et al. 2020 (TGANv2) for the score's preprocessing.
"""

from collections.abc import Mapping

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import network_state
from videogpt_jax.resize import interpolate

N_CLASSES = 101  # UCF-101
N_FRAMES = 16
RESOLUTION = 112
_MEAN_CROP = slice(8, 8 + RESOLUTION)  # of the 128 rows and 171 columns of the mean file

_CHANNELS = {
  'conv1a': (3, 64),
  'conv2a': (64, 128),
  'conv3a': (128, 256),
  'conv3b': (256, 256),
  'conv4a': (256, 512),
  'conv4b': (512, 512),
  'conv5a': (512, 512),
  'conv5b': (512, 512),
}
_POOL_AFTER = ('conv1a', 'conv2a', 'conv3b', 'conv4b', 'conv5b')
_N_UNITS = 4096


class C3D(nnx.Module):
  """Eight convolutions and three linear layers.

  Args:
    rngs: initial weights, which import_c3d replaces.
  """

  def __init__(self, *, rngs: nnx.Rngs):
    for name, (n_in, n_out) in _CHANNELS.items():
      conv = nnx.Conv(n_in, n_out, (3, 3, 3), precision=lax.Precision.HIGHEST, rngs=rngs)
      setattr(self, name, conv)
    sizes = (4 * 4 * 512, _N_UNITS, _N_UNITS, N_CLASSES)
    for i, name in enumerate(('fc6', 'fc7', 'fc8')):
      linear = nnx.Linear(sizes[i], sizes[i + 1], precision=lax.Precision.HIGHEST, rngs=rngs)
      setattr(self, name, linear)
    self.mean = nnx.Param(jnp.zeros((N_FRAMES, RESOLUTION, RESOLUTION, 3)))

  def __call__(self, video: jax.Array) -> jax.Array:
    """Classifies clips.

    Args:
      video: uint8 or float [B 16 H W 3], RGB from 0 to 255.
    Returns:
      logits: float32 [B 101].
    Raises:
      UserError: the clips do not have 16 frames.
    """
    if video.shape[1] != N_FRAMES:
      raise UserError(f'C3D takes clips of {N_FRAMES} frames, not {video.shape[1]}; use --n_frames')
    x = video.astype(jnp.float32)[..., ::-1]  # BGR
    # With aligned corners, as Chainer's resize_images does.
    x = interpolate(x, *(np.linspace(0, size - 1, RESOLUTION) for size in x.shape[2:4]))
    x = x - self.mean[...]
    for name in _CHANNELS:
      x = nnx.relu(getattr(self, name)(x))
      if name in _POOL_AFTER:
        x = _max_pool(x, 1 if name == 'conv1a' else 2)
    x = nnx.relu(self.fc6(einops.rearrange(x, 'B 1 h w C -> B (h w C)')))
    return self.fc8(nnx.relu(self.fc7(x)))


def import_c3d(tensors: Mapping[str, np.ndarray], mean: np.ndarray, file: str = 'the file') -> C3D:
  """Builds a C3D from published weights.

  Args:
    tensors: name -> array, with Chainer's names (`conv1a/W`): TGANv2's conv3d_deepnetA_ucf.npz.
    mean: float [3 16 128 171] (or with leading axes of 1), BGR from 0 to 255: mean2.npz.
    file: source of the tensors, for messages.
  Raises:
    UserError: a tensor is missing or has another shape.
  """
  arrays = {}
  for name in (*_CHANNELS, 'fc6', 'fc7', 'fc8'):
    if f'{name}/W' not in tensors or f'{name}/b' not in tensors:
      raise UserError(f"{file} lacks the tensors {name}/W and /b; give TGANv2's complete file")
    weight = tensors[f'{name}/W']
    if name == 'fc6':  # its inputs are ordered C h w there
      weight = einops.rearrange(weight, 'O (C h w) -> (h w C) O', h=4, w=4)
    elif name.startswith('fc'):
      weight = weight.T
    else:
      weight = einops.rearrange(weight, 'O I t h w -> t h w I O')
    arrays[name, 'kernel'], arrays[name, 'bias'] = weight, tensors[f'{name}/b']
  mean = np.asarray(mean, np.float32)
  if mean.size != 3 * N_FRAMES * 128 * 171:
    raise UserError(
      f"the mean clip {mean.shape} must be [3 {N_FRAMES} 128 171]; give TGAN2's mean2.npz"
    )
  mean = mean.reshape(3, N_FRAMES, 128, 171)[:, :, _MEAN_CROP, _MEAN_CROP]
  arrays['mean',] = einops.rearrange(mean, 'C T H W -> T H W C')
  return network_state.fill(lambda: C3D(rngs=nnx.Rngs(0)), arrays, file)


def _max_pool(x: jax.Array, t: int) -> jax.Array:
  # Partial windows at the end count, as in Caffe and Chainer: 7 rows become 4.
  return nnx.max_pool(x, (t, 2, 2), strides=(t, 2, 2), padding='SAME')
