"""Records torch_dtypes.pt, torch_dtypes_legacy.pt and torch_script.pt; by hand, where PyTorch is.

python tests/goldens/record_torch_files.py
"""

import argparse
import pathlib

import torch

HERE = pathlib.Path(__file__).parent


def tree():
  """Every dtype, and every way in which tensors share a storage."""
  base = torch.arange(24, dtype=torch.float32)
  dtypes = ('float32', 'float64', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8')
  tensors = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in dtypes}
  return tensors | {
    'bool': torch.tensor([True, False]),
    'scalar': torch.tensor(7),
    'empty': torch.zeros(0, 3),
    'transposed': base[2:14].view(3, 4).t(),
    'every_second': base[1::2],
    'expanded': torch.tensor([3.0]).expand(4, 2),
    'parameter': torch.nn.Parameter(base[:3]),
    'size': torch.Size([2, 3]),
    'plain': [1, 2.5, None, True, 'ü', -5, 2**40, (1,), (), {1: 2}, {1}],
    'args': argparse.Namespace(a=1),
  }


class Unit(torch.nn.Module):
  """A convolution and a norm, as video networks are built of; and an attribute that is a list."""

  def __init__(self, n: int):
    super().__init__()
    self.conv3d = torch.nn.Conv3d(3, n, 1, bias=False)
    self.bn = torch.nn.BatchNorm3d(n)
    self.sizes = [n, 2 * n]
    for i, x in enumerate((*self.parameters(), *self.buffers())):
      x.data = (i + torch.arange(x.numel()).reshape(x.shape)).to(x.dtype)

  def forward(self, video):
    return torch.relu(self.bn(self.conv3d(video))) * self.sizes[0]


class Network(torch.nn.Module):
  """Modules in modules, and a buffer that is a view."""

  def __init__(self):
    super().__init__()
    self.stem, self.blocks = Unit(2), torch.nn.Sequential(Unit(4))
    self.register_buffer('every_second', torch.arange(6.0)[::2])

  def forward(self, video, return_features: bool = True):
    x = self.stem(video).mean() + self.every_second.sum()
    return x if return_features else x * 2


if __name__ == '__main__':
  torch.save(tree(), HERE / 'torch_dtypes.pt')
  torch.save(tree(), HERE / 'torch_dtypes_legacy.pt', _use_new_zipfile_serialization=False)
  torch.jit.save(torch.jit.script(Network().eval()), HERE / 'torch_script.pt')
