"""Any folder of videos: train/ and test/, or one to hold some out of; one folder a class."""

from data.formats import Item, Listing, Options
from data.formats.videos import read as read
from videogpt_jax.input.video_folder import (
  check_classes,
  class_names_of,
  class_of,
  hold_out,
  list_videos,
  split_folders,
)

_TEST_FRACTION = 0.1


def list_items(source: str, options: Options) -> Listing:
  """A video file an item."""
  del options
  train, test = split_folders(source)
  names = list_videos(train)
  if not names:
    raise ValueError(f'{train} holds no videos')
  class_names = class_names_of(names)
  if test is None:
    train_names, test_names = hold_out(names, _TEST_FRACTION)
    parts = (('train', train, train_names), ('test', train, test_names))
  else:
    parts = (('train', train, names), ('test', test, list_videos(test)))
    if class_names:
      check_classes(parts[1][2], class_names, source)
  numbers = {name: number for number, name in enumerate(class_names or ())}
  items = [
    Item(name, split, str(root / name), numbers.get(class_of(name)))
    for split, root, part in parts
    for name in part
  ]
  return Listing(items, class_names)
