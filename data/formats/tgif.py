"""TGIF: GIFs named by the last part of their addresses, and train.txt, val.txt and test.txt."""

import pathlib

from data.formats import Item, Listing, Options
from data.formats.videos import read as read
from videogpt_jax.errors import UserError


def list_items(source: str, options: Options) -> Listing:
  """Lists the GIFs: those in test.txt for the test, the others for training."""
  del options
  files = {path.name: path for path in sorted(pathlib.Path(source).rglob('*.gif'))}
  items = []
  for split, names in {'train': ('train.txt', 'val.txt'), 'test': ('test.txt',)}.items():
    lists = [path for name in names for path in pathlib.Path(source).rglob(name)]
    if not lists:
      raise UserError(f'{source} lacks the list {names[0]}, found in data/splits of the archive')
    addresses = [line.strip() for path in lists for line in path.read_text().splitlines()]
    gifs = [address.rsplit('/', 1)[-1] for address in addresses if address]
    items += [Item(gif, split, str(files[gif])) for gif in gifs if gif in files]
  if not items:
    raise UserError(f'{source} holds none of the GIFs of its lists; fetch them by their addresses')
  return Listing(items)
