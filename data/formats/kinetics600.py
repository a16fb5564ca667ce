"""Kinetics-600: the official train.csv and validate.csv (or val.csv), the clips anywhere below.

A clip is named YOUTUBEID_START_END.mp4, the seconds in six digits, as the common downloaders do.
Many of the videos are gone; what is not there is left out.
"""

import csv
import pathlib

from data.formats import Item, Listing, Options
from data.formats.videos import read as read
from videogpt_jax.input.video_file import SUFFIXES

_LISTS = {'train': ('train.csv',), 'test': ('validate.csv', 'val.csv', 'validation.csv')}


def list_items(source: str, options: Options) -> Listing:
  """A clip an item; the official validation clips are the test."""
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
    raise ValueError(f'{source} holds none of the {len(rows)} clips of its lists')
  return Listing(items, class_names)


def _read_list(source, names):
  for name in names:
    path = pathlib.Path(source, name)
    if path.is_file():
      with path.open(newline='') as file:
        return list(csv.DictReader(file))
  raise ValueError(f'{source} lacks the list {names[0]}')
