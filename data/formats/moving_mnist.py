"""Moving MNIST: the published test clips, and training clips generated from MNIST in the same way.

mnist_test_seq.npy is uint8 [20 10000 64 64]; train-images-idx3-ubyte (or .gz) has MNIST's images.
"""

import gzip
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from data.formats import Item, Listing, Options, RawClip
from videogpt_jax import numpy_file
from videogpt_jax.errors import UserError

_TEST, _TRAIN = 'mnist_test_seq.npy', 'train-images-idx3-ubyte'
_SIZE, _N_FRAMES, _N_DIGITS = 64, 20, 2
_STEP = 0.1  # fraction of the free range per frame, as in Srivastava et al.'s test clips (2015)
_N_TRAIN = 50_000
_PER_ITEM = 1000


def list_items(source: str, options: Options) -> Listing:
  """Lists items of a thousand clips; `n_generated` (default 50,000) are for training."""
  root = pathlib.Path(source)
  train = next((root / name for name in (_TRAIN, f'{_TRAIN}.gz') if (root / name).is_file()), None)
  if train is None or not (root / _TEST).is_file():
    raise UserError(f'{source} must hold {_TEST} and {_TRAIN} (or .gz)')
  n_test = numpy_file.read_npy(root / _TEST).shape[1]
  parts = (('train', train, options.n_generated or _N_TRAIN), ('test', root / _TEST, n_test))
  items = [
    Item(f'{split}-{first}', split, str(path), None, first, min(_PER_ITEM, n - first))
    for split, path, n in parts
    for first in range(0, n, _PER_ITEM)
  ]
  return Listing(items, items_per_shard=1)


def read(item: Item, options: Options) -> Iterator[RawClip]:
  """Yields clips [20 64 64 1]; training clips depend on `seed` and their number alone."""
  numbers = range(item.first, item.first + item.count)
  if item.split == 'test':
    clips = numpy_file.read_npy(item.path)
    generated = (np.asarray(clips[:, number]) for number in numbers)
  else:
    images = _read_mnist(item.path)
    generated = (_bounce(images, np.random.default_rng((options.seed, n))) for n in numbers)
  for clip in generated:
    yield RawClip(clip[:: options.frame_skip, :, :, None])


def _bounce(images, rng) -> np.ndarray:
  """Returns a clip uint8 [20 64 64] of digits that move straight and bounce off the walls."""
  clip = np.zeros((_N_FRAMES, _SIZE, _SIZE), np.uint8)
  for _ in range(_N_DIGITS):
    image = images[rng.integers(len(images))]
    angle = rng.uniform(0, 2 * math.pi)
    velocity = _STEP * np.array([math.sin(angle), math.cos(angle)])
    path = rng.uniform(size=2) + velocity * np.arange(_N_FRAMES)[:, None]
    path = 1 - np.abs(path % 2 - 1)
    corners = (path * (_SIZE - len(image))).astype(int)
    for frame, (top, left) in zip(clip, corners, strict=True):
      part = frame[top : top + len(image), left : left + len(image)]
      np.maximum(part, image, out=part)
  return clip


def _read_mnist(path) -> np.ndarray:
  """Returns the images uint8 [n 28 28] of an IDX file."""
  with (gzip.open if str(path).endswith('.gz') else open)(path, 'rb') as file:
    content = file.read()
  if content[:4] != b'\x00\x00\x08\x03':
    raise UserError(f'{path} is no IDX file of images; fetch it again')
  n, height, width = np.frombuffer(content, '>i4', 3, offset=4)
  return np.frombuffer(content, np.uint8, offset=16).reshape(n, height, width)
