"""Records networks.npz: LPIPS and C3D in PyTorch, with weights by tests/goldens/recipe.py.

Run where `torch`, `torchvision` and `lpips` are installed (2.15, 0.29 and 0.1.4 were used):

  PYTHONPATH=. python tests/evaluation/goldens/record_networks.py
"""

import pathlib

import lpips
import numpy as np
import torch
from torch.nn import functional

from tests.goldens import recipe

_CONVOLUTIONS = {
  'conv1a': (64, 3),
  'conv2a': (128, 64),
  'conv3a': (256, 128),
  'conv3b': (256, 256),
  'conv4a': (512, 256),
  'conv4b': (512, 512),
  'conv5a': (512, 512),
  'conv5b': (512, 512),
}
_LINEAR = {'fc6': (4096, 8192), 'fc7': (4096, 4096), 'fc8': (101, 4096)}
_POOL_AFTER = ('conv1a', 'conv2a', 'conv3b', 'conv4b', 'conv5b')


def record_lpips(net: str, images: np.ndarray, references: np.ndarray) -> np.ndarray:
  """LPIPS of uint8 [N H W 3] pairs, by the authors' package with other weights."""
  network = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
  numbers = iter(
    [0, 3, 6, 8, 10] if net == 'alex' else [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
  )
  with torch.no_grad():
    for module in network.net.modules():
      if isinstance(module, torch.nn.Conv2d):
        number = next(numbers)
        for kind in ('weight', 'bias'):
          parameter = getattr(module, kind)
          name = f'features.{number}.{kind}'
          parameter.copy_(torch.tensor(recipe.parameter(name, tuple(parameter.shape), net)))
    for i, layer in enumerate(network.lins):
      weight = layer.model[-1].weight
      weight.copy_(
        torch.tensor(abs(recipe.parameter(f'lin{i}.model.1.weight', tuple(weight.shape), net)))
      )
    pair = [torch.tensor(x).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (images, references)]
    return network(*pair).reshape(-1).numpy()


def record_c3d(video: np.ndarray) -> np.ndarray:
  """C3D's logits of uint8 [B 16 H W 3] clips, written out in PyTorch's functions."""
  get = lambda name, shape: torch.tensor(recipe.parameter(name, shape, 'c3d'))
  mean = 100 + 10 * recipe.parameter('mean', (3, 16, 128, 171), 'c3d')
  x = torch.tensor(video[..., ::-1].copy()).float().flatten(0, 1).permute(0, 3, 1, 2)
  x = functional.interpolate(x, (112, 112), mode='bilinear', align_corners=True)
  x = x.unflatten(0, video.shape[:2]).transpose(1, 2) - torch.tensor(mean[:, :, 8:120, 8:120])
  for name, shape in _CONVOLUTIONS.items():
    weight, bias = get(f'{name}/W', (*shape, 3, 3, 3)), get(f'{name}/b', shape[:1])
    x = functional.relu(functional.conv3d(x, weight, bias, padding=1))
    if name in _POOL_AFTER:
      x = functional.max_pool3d(x, (1, 2, 2) if name == 'conv1a' else 2, ceil_mode=True)
  x = x.flatten(1)
  for name, shape in _LINEAR.items():
    x = functional.linear(x, get(f'{name}/W', shape), get(f'{name}/b', shape[:1]))
    x = functional.relu(x) if name != 'fc8' else x
  return x.numpy()


def main():
  rng = np.random.default_rng(0)
  images, references = rng.integers(0, 256, (2, 3, 40, 45, 3), dtype=np.uint8)
  references[1] = images[1]
  references[2] = np.clip(images[2].astype(int) + rng.integers(-9, 10, (40, 45, 3)), 0, 255)
  clips = rng.integers(0, 256, (1, 16, 20, 26, 3), dtype=np.uint8)
  np.savez_compressed(
    pathlib.Path(__file__).with_name('networks.npz'),
    images=images,
    references=references,
    lpips_alex=record_lpips('alex', images, references),
    lpips_vgg=record_lpips('vgg', images, references),
    clips=clips,
    c3d_logits=record_c3d(clips),
  )


if __name__ == '__main__':
  main()
