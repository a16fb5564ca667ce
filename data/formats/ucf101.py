"""UCF-101: UCF-101/CLASS/*.avi beside the official lists in ucfTrainTestlist/."""

import pathlib

from data.formats import Item, Listing, Options
from data.formats.videos import read as read
from videogpt_jax.errors import UserError


def list_items(source: str, options: Options) -> Listing:
  """Lists the videos of the train and test lists number `official_split`."""
  if options.official_split not in (1, 2, 3):
    raise UserError(f'official_split ({options.official_split}) must be 1, 2 or 3')
  root, lists = pathlib.Path(source, 'UCF-101'), pathlib.Path(source, 'ucfTrainTestlist')
  if not root.is_dir() or not lists.is_dir():
    raise UserError(f'{source} must hold UCF-101/ and ucfTrainTestlist/, unpacked side by side')
  class_names = [
    line.split()[1] for line in (lists / 'classInd.txt').read_text().splitlines() if line
  ]
  numbers = {name: number for number, name in enumerate(class_names)}
  # The lists and the files spell HandstandPushups differently.
  files = {path.relative_to(root).as_posix().lower(): str(path) for path in root.glob('*/*')}
  items = []
  for split in ('train', 'test'):
    text = (lists / f'{split}list0{options.official_split}.txt').read_text()
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    items += [
      Item(name, split, files.get(name.lower(), str(root / name)), numbers[name.split('/')[0]])
      for name in names
    ]
  return Listing(items, class_names)
