"""TGIF: GIFs named as at the end of their addresses, and the lists train.txt, val.txt, test.txt."""

import pathlib

from data.formats import Item, Listing, Options
from data.formats.videos import read as read


def list_items(source: str, options: Options) -> Listing:
  """A GIF an item; those of the test list are the test, all others are for training."""
  del options
  files = {path.name: path for path in sorted(pathlib.Path(source).rglob('*.gif'))}
  items = []
  for split, names in {'train': ('train.txt', 'val.txt'), 'test': ('test.txt',)}.items():
    lists = [path for name in names for path in pathlib.Path(source).rglob(name)]
    if not lists:
      raise ValueError(f'{source} lacks the list {names[0]}, found in data/splits of the archive')
    addresses = [line.strip() for path in lists for line in path.read_text().splitlines()]
    gifs = [address.rsplit('/', 1)[-1] for address in addresses if address]
    items += [Item(gif, split, str(files[gif])) for gif in gifs if gif in files]
  if not items:
    raise ValueError(f'{source} holds none of the GIFs of its lists; fetch them by their addresses')
  return Listing(items)
