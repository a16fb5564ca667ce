"""Seeded mutations of the bytes of a file, and of trees of values."""

import argparse
import copy
import random
import struct
from collections.abc import Mapping

import numpy as np

NUMBERS = (0, 1, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""What fields of sizes and offsets overflow at."""

ODD = (
  None,
  True,
  -1,
  0,
  10**12,
  2**40,
  0.5,
  float('nan'),
  float('inf'),
  'a',
  '',
  '\ud800',
  b'\xff',
)
ODD += ([], [[]], {}, {'a': 1}, (), (-1,), [0] * 40, 10**300, 'x' * 10_000)


def of_bytes(draw: random.Random, content: bytes) -> bytes:
  """Returns the content with one to four changes, most of them near its beginning or end."""
  found = bytearray(content)
  for _ in range(draw.choice((1, 1, 2, 4))):
    size = len(found)
    place = min(int(draw.choice((1, 64, 512, size)) * draw.random()), max(size - 1, 0))
    place = size - 1 - place if size and draw.random() < 0.2 else place
    n = draw.choice((1, 4, 16, 256))
    match draw.randrange(8):
      case 0:
        del found[place:]
      case 1:
        del found[place : place + n]
      case 2:
        found[place:place] = found[place : place + n]
      case 3:
        found[place : place + n] = draw.randbytes(n)
      case 4:
        found[place : place + n] = bytes(n)
      case 5:
        width, letter = draw.choice(((1, 'B'), (2, 'H'), (4, 'I'), (8, 'Q')))
        number = draw.choice(NUMBERS) % (1 << 8 * width)
        found[place : place + width] = struct.pack(draw.choice('<>') + letter, number)
      case _ if size:
        found[place] ^= 1 << draw.randrange(8)
  return bytes(found)


def of_text(draw: random.Random, content: bytes) -> bytes:
  """Returns a text with a number or a letter of it replaced, or its bytes changed."""
  if draw.random() < 0.3:
    return of_bytes(draw, content)
  digits = [i for i, c in enumerate(content) if chr(c).isdigit()] or list(range(len(content)))
  place = draw.choice(digits)
  return (
    content[:place] + draw.choice((b'-', b'9' * 30, b'1e999', b'"', b'x')) + content[place + 1 :]
  )


def of_tree(draw: random.Random, tree):
  """Returns a copy of nested mappings, lists and Namespaces with one to three places changed."""
  tree = copy.deepcopy(tree)
  for _ in range(draw.choice((1, 1, 2, 3))):
    places = list(_places(tree))
    if not places:
      return draw.choice(ODD)
    holder, key = draw.choice(places)
    kind = draw.randrange(8)
    if kind == 0:
      del holder[key]
    elif kind == 1 and isinstance(holder, dict):
      holder[draw.choice(('', 'a', 'x' * 1000))] = holder.pop(key)
    elif isinstance(holder[key], np.ndarray):
      holder[key] = _array(draw, holder[key])
    else:
      holder[key] = copy.deepcopy(draw.choice(ODD))
  return tree


def _places(tree):
  """Yields each (holder, key) of a tree."""
  if isinstance(tree, argparse.Namespace):
    tree = vars(tree)
  if not isinstance(tree, Mapping | list):
    return
  keys = list(tree) if isinstance(tree, Mapping) else range(len(tree))
  for key in keys:
    yield tree, key
    yield from _places(tree[key])


def _array(draw, x):
  """Returns an array of another shape, dtype or content."""
  options = (
    lambda: x.ravel()[: draw.randrange(x.size + 1)],
    lambda: x.reshape(-1),
    lambda: x[None],
    lambda: np.full(x.shape, np.nan, np.float32),
    lambda: x.astype(draw.choice((np.float64, np.float16, np.int64, np.uint8, bool))),
    lambda: np.zeros((0, *x.shape[1:]), x.dtype),
    lambda: 'a',
    lambda: [x],
  )
  return draw.choice(options)()
