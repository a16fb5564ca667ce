"""Kinetics-600: the official train.csv and validate.csv (or val.csv), and clips anywhere below.

Clips are named YOUTUBEID_START_END.mp4 with six-digit seconds, as the common downloaders do. Many
videos no longer exist; clips that are missing are left out.
"""

import csv
import pathlib

from data.formats import Item, Listing, Options
from data.formats.videos import read as read
from videogpt_jax.errors import UserError
from videogpt_jax.input.video_file import SUFFIXES

_LISTS = {'train': ('train.csv',), 'test': ('validate.csv', 'val.csv', 'validation.csv')}


def list_items(source: str, options: Options) -> Listing:
  """Lists the clips; the official validation split is the test split."""
  del options
  files = {
    path.stem: path
    for path in sorted(pathlib.Path(source).rglob('*'))
    if path.suffix.lower() in SUFFIXES
  }
  rows = [(split, row) for split, names in _LISTS.items() for row in _read_list(source, names)]
  class_names = sorted({row['label'] for _, row in rows})
  numbers = {name: number for number, name in enumerate(class_names)}
  items = []
  for split, row in rows:
    name = f'{row["youtube_id"]}_{int(row["time_start"]):06d}_{int(row["time_end"]):06d}'
    if name in files:
      items.append(Item(name, split, str(files[name]), numbers[row['label']]))
  if not items:
    raise UserError(f'{source} holds none of the {len(rows)} clips of its lists')
  return Listing(items, class_names)


def _read_list(source, names):
  for name in names:
    path = pathlib.Path(source, name)
    if path.is_file():
      with path.open(newline='') as file:
        return list(csv.DictReader(file))
  raise UserError(f'{source} lacks the list {names[0]}')
