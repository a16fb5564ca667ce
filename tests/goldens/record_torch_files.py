"""Records torch_dtypes.pt and torch_dtypes_legacy.pt; run by hand where PyTorch is installed.

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


if __name__ == '__main__':
  torch.save(tree(), HERE / 'torch_dtypes.pt')
  torch.save(tree(), HERE / 'torch_dtypes_legacy.pt', _use_new_zipfile_serialization=False)
