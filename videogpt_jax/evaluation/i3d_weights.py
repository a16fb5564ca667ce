"""Imports I3D's weights, from PyTorch and TensorFlow names, with batch norm folded in.

A unit is a convolution w (without bias) and a batch normalisation: gamma, beta, mean, var. With
s = gamma / sqrt(var + epsilon), the unit is the convolution w s with the bias beta - mean s.

Axes: t h w of a kernel; channels I in, O out.
"""

from collections.abc import Iterator, Mapping

import einops
import numpy as np
from flax import nnx

from videogpt_jax.evaluation import i3d, network_state

# The published VideoGPT evaluates its PyTorch file with this epsilon; TensorFlow's I3D has 1e-3.
_TORCH_EPSILON = 1e-5
_TENSORFLOW_EPSILON = 1e-3

_STEM = ('Conv3d_1a_7x7', 'Conv3d_2b_1x1', 'Conv3d_2c_3x3')
_MIXED = tuple(f'Mixed_{name}' for name in ('3b', '3c', '4b', '4c', '4d', '4e', '4f', '5b', '5c'))
# A branch's name here and in PyTorch, and in TensorFlow.
_BRANCHES = {
  'b0': 'Branch_0/Conv3d_0a_1x1',
  'b1a': 'Branch_1/Conv3d_0a_1x1',
  'b1b': 'Branch_1/Conv3d_0b_3x3',
  'b2a': 'Branch_2/Conv3d_0a_1x1',
  'b2b': 'Branch_2/Conv3d_0b_3x3',
  'b3b': 'Branch_3/Conv3d_0b_1x1',
}
_TENSORFLOW_LOGITS = 'Logits/Conv3d_0c_1x1'


def import_i3d(tensors: Mapping[str, np.ndarray], file: str = 'the file') -> i3d.I3D:
  """Makes an I3D of a published checkpoint's tensors.

  Args:
    tensors: name -> array. The PyTorch port's state dict (`Mixed_3b.b0.conv3d.weight`), the
      variables of DeepMind's TensorFlow release (`RGB/inception_i3d/...`), or those of a port of
      the latter under any names, if they come in the network's order (StyleGAN-V's TorchScript).
    file: where they come from, for messages.
  Raises:
    ValueError: none of these, or a tensor is missing or has another shape.
  """
  tensors = {name.removeprefix('module.'): array for name, array in tensors.items()}
  stem = f'{_STEM[0]}/conv_3d/w'
  prefixes = [name[: -len(stem)] for name in tensors if name.endswith(stem)]
  try:
    if f'{_STEM[0]}.conv3d.weight' in tensors:
      arrays = dict(_from_torch(tensors))
    elif prefixes:
      arrays = dict(_from_tensorflow(tensors, prefixes[0]))
    elif sum(array.ndim == 5 for array in tensors.values()) == len(list(_units())) + 1:
      arrays = dict(_from_sequence(tensors, file))
    else:
      raise ValueError(
        f'{file} holds no I3D: neither {_STEM[0]}.conv3d.weight (PyTorch) nor a variable '
        f'.../{stem} (TensorFlow) is in it; give i3d_pretrained_400.pt or the TF Hub module'
      )
  except KeyError as error:
    raise ValueError(
      f'{file} lacks the tensor {error.args[0]}; give the complete published file'
    ) from error
  return network_state.fill(lambda: i3d.I3D(rngs=nnx.Rngs(0)), arrays, file)


def _units() -> Iterator[tuple[tuple[str, ...], str]]:
  """Each unit's path here, and its TensorFlow name."""
  for name in _STEM:
    yield (name,), name
  for name in _MIXED:
    for branch, tensorflow_name in _BRANCHES.items():
      yield (name, branch), f'{name}/{tensorflow_name}'


def _from_torch(tensors: Mapping[str, np.ndarray]) -> Iterator:
  for path, _ in _units():
    unit = '.'.join(path)
    norm = [tensors[f'{unit}.bn.{x}'] for x in ('weight', 'bias', 'running_mean', 'running_var')]
    kernel = _from_torch_kernel(tensors[f'{unit}.conv3d.weight'])
    yield from _folded(path, kernel, *norm, _TORCH_EPSILON)
  yield ('logits', 'kernel'), _from_torch_kernel(tensors['logits.conv3d.weight'])
  yield ('logits', 'bias'), tensors['logits.conv3d.bias']


def _from_tensorflow(tensors: Mapping[str, np.ndarray], prefix: str) -> Iterator:
  for path, name in _units():
    unit = prefix + name
    if f'{unit}/conv_3d/w' not in tensors and path == ('Mixed_5b', 'b2b'):
      unit = unit.replace('0b_3x3', '0a_3x3')  # the release's own slip of the pen
    beta, mean, variance = (
      tensors[f'{unit}/batch_norm/{x}'].reshape(-1)
      for x in ('beta', 'moving_mean', 'moving_variance')
    )
    kernel = tensors[f'{unit}/conv_3d/w']
    yield from _folded(path, kernel, np.ones_like(beta), beta, mean, variance, _TENSORFLOW_EPSILON)
  yield ('logits', 'kernel'), tensors[f'{prefix}{_TENSORFLOW_LOGITS}/conv_3d/w']
  yield ('logits', 'bias'), tensors[f'{prefix}{_TENSORFLOW_LOGITS}/conv_3d/b']


def _from_sequence(tensors: Mapping[str, np.ndarray], file: str) -> Iterator:
  """Kernels are told by their order, and what belongs to one by its name and its place.

  That the order is the network's follows from the shapes, which network_state.fill compares: two
  units that were swapped everywhere would not fit in most of the modules.
  """
  kernels = [name for name, array in tensors.items() if array.ndim == 5]
  *units, logits = kernels
  for (path, _), kernel in zip(_units(), units, strict=True):
    found = _beside(tensors, kernel, ('mean', 'var'), file)
    beta, mean, variance = found['beta'], found['mean'], found['var']
    gamma = found.get('gamma', np.ones_like(beta))
    weight = _from_torch_kernel(tensors[kernel])
    yield from _folded(path, weight, gamma, beta, mean, variance, _TENSORFLOW_EPSILON)
  yield ('logits', 'kernel'), _from_torch_kernel(tensors[logits])
  yield ('logits', 'bias'), _beside(tensors, logits, (), file)['beta']


def _beside(tensors, kernel: str, needed: tuple[str, ...], file: str) -> dict[str, np.ndarray]:
  """The vectors of the unit that `kernel` belongs to, by role."""
  scope = kernel.rpartition('.')[0]
  while True:
    vectors = {
      name.rpartition('.')[2]: array.reshape(-1)
      for name, array in tensors.items()
      if name.startswith(f'{scope}.') and array.ndim != 5 and array.size == len(tensors[kernel])
    }
    roles = {_role(name): array for name, array in vectors.items()}
    if {'beta', *needed} <= roles.keys() and len(roles) == len(vectors):
      return roles
    inside = [n for n, x in tensors.items() if n.startswith(f'{scope}.') and x.ndim == 5]
    if len(inside) > 1 or not scope:
      raise ValueError(
        f'{file} has an I3D whose tensors beside {kernel} are not known ({", ".join(vectors)}); '
        'give i3d_pretrained_400.pt or the TF Hub module deepmind/i3d-kinetics-400/1 instead'
      )
    scope = scope.rpartition('.')[0]


def _role(name: str) -> str:
  """What a vector of batch normalisation is, by the last part of its name."""
  for role, parts in {'mean': ('mean',), 'var': ('var',), 'beta': ('beta', 'bias')}.items():
    if any(part in name for part in parts):
      return role
  return 'gamma' if name in ('weight', 'gamma', 'scale') else name


def _from_torch_kernel(kernel: np.ndarray) -> np.ndarray:
  return einops.rearrange(kernel, 'O I t h w -> t h w I O')


def _folded(path, kernel, gamma, beta, mean, variance, epsilon) -> Iterator:
  scale = gamma / np.sqrt(np.asarray(variance, np.float64) + epsilon)
  yield (*path, 'kernel'), kernel * scale
  yield (*path, 'bias'), beta - mean * scale
