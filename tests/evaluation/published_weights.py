"""Weights by recipe under the names that the published files have, for tests alone."""

import functools
import json
import pathlib

import numpy as np

from tests.goldens import recipe

_SHAPES = pathlib.Path(__file__).parent / 'goldens' / 'i3d_state_dict_shapes.json'
_ALEX = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3)}
_ALEX[10] = (256, 256, 3, 3)
_VGG_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_VGG_NUMBERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_C3D_CHANNELS = {'1a': (64, 3), '2a': (128, 64), '3a': (256, 128), '3b': (256, 256)}
_C3D_CHANNELS |= {'4a': (512, 256), '4b': (512, 512), '5a': (512, 512), '5b': (512, 512)}


@functools.cache
def i3d() -> dict[str, np.ndarray]:
  """The PyTorch port's state dict: 344 tensors."""
  shapes = json.loads(_SHAPES.read_text())
  return {name: recipe.parameter(name, tuple(s), 'i3d') for name, s in shapes.items()}


def i3d_tensorflow() -> dict[str, np.ndarray]:
  """The same network as TensorFlow variables, whose batch norm has no gamma."""
  branches = {
    'b0': 'Branch_0/Conv3d_0a_1x1',
    'b1a': 'Branch_1/Conv3d_0a_1x1',
    'b1b': 'Branch_1/Conv3d_0b_3x3',
    'b2a': 'Branch_2/Conv3d_0a_1x1',
    'b2b': 'Branch_2/Conv3d_0b_3x3',
    'b3b': 'Branch_3/Conv3d_0b_1x1',
  }
  torch, variables = i3d(), {}
  for name in torch:
    if not name.endswith('conv3d.weight'):
      continue
    unit = name.removesuffix('.conv3d.weight')
    block, _, branch = unit.partition('.')
    tf_name = f'{block}/{branches[branch]}' if branch else block
    if unit == 'Mixed_5b.b2b':
      tf_name = 'Mixed_5b/Branch_2/Conv3d_0a_3x3'
    if unit == 'logits':
      tf_name = 'Logits/Conv3d_0c_1x1'
      variables['RGB/inception_i3d/Logits/Conv3d_0c_1x1/conv_3d/b'] = torch['logits.conv3d.bias']
    kernel = np.moveaxis(torch[name], (0, 1), (4, 3))
    if unit != 'logits':
      norm = {x: torch[f'{unit}.bn.{x}'] for x in ('weight', 'bias', 'running_mean', 'running_var')}
      kernel = kernel * norm['weight']
      # gamma goes into the kernel; the mean is that of the convolution's output.
      values = {
        'beta': norm['bias'],
        'moving_mean': norm['running_mean'] * norm['weight'],
        'moving_variance': norm['running_var'] + np.float32(1e-5) - np.float32(1e-3),
      }
      for kind, value in values.items():
        variables[f'RGB/inception_i3d/{tf_name}/batch_norm/{kind}'] = value.reshape(1, 1, 1, 1, -1)
    variables[f'RGB/inception_i3d/{tf_name}/conv_3d/w'] = kernel
  return variables


def lpips(net: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """torchvision's backbone and the authors' linear layers."""
  if net == 'alex':
    shapes, stages = _ALEX, (64, 192, 384, 256, 256)
  else:
    inputs = (3, *_VGG_CHANNELS[:-1])
    sizes = zip(_VGG_CHANNELS, inputs, strict=True)
    shapes = dict(zip(_VGG_NUMBERS, ((*size, 3, 3) for size in sizes), strict=True))
    stages = (64, 128, 256, 512, 512)
  backbone = {}
  for number, shape in shapes.items():
    for kind, size in (('weight', shape), ('bias', shape[:1])):
      name = f'features.{number}.{kind}'
      backbone[name] = recipe.parameter(name, size, net)
  names = {f'lin{i}.model.1.weight': (1, n, 1, 1) for i, n in enumerate(stages)}
  linear = {name: abs(recipe.parameter(name, size, net)) for name, size in names.items()}
  return backbone, linear


def c3d() -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Chainer's arrays and the mean clip."""
  shapes = {f'conv{name}/W': (*size, 3, 3, 3) for name, size in _C3D_CHANNELS.items()}
  shapes |= {'fc6/W': (4096, 8192), 'fc7/W': (4096, 4096), 'fc8/W': (101, 4096)}
  shapes |= {name.replace('/W', '/b'): size[:1] for name, size in shapes.items()}
  tensors = {name: recipe.parameter(name, size, 'c3d') for name, size in shapes.items()}
  return tensors, 100 + 10 * recipe.parameter('mean', (3, 16, 128, 171), 'c3d')
