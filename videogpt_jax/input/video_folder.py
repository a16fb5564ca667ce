"""How a folder of videos is laid out: train/ and test/, or one to hold some out of; classes."""

import hashlib
import pathlib
from collections.abc import Iterable, Sequence

from videogpt_jax.input.video_file import SUFFIXES


def list_videos(root: pathlib.Path) -> list[str]:
  """The video files below a folder, by path relative to it, in order, hidden ones left out."""
  return sorted(
    path.relative_to(root).as_posix()
    for path in root.rglob('*')
    if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file()
  )


def split_folders(path: str) -> tuple[pathlib.Path, pathlib.Path | None]:
  """The folder to train on, and that to test on if it is another one.

  Raises:
    ValueError: there is no such folder.
  """
  root = pathlib.Path(path).expanduser()
  if not root.is_dir():
    what = 'is no folder' if root.exists() else 'does not exist'
    raise ValueError(
      f'the path of the videos ({root}) {what}; name a folder of {" ".join(SUFFIXES)}'
    )
  if not (root / 'train').is_dir():
    return root, None
  return root / 'train', root / 'test' if (root / 'test').is_dir() else None


def class_of(name: str) -> str:
  """The folder that a video lies in, as a path relative to its split's folder."""
  return name.split('/')[0]


def class_names_of(names: Iterable[str]) -> tuple[str, ...] | None:
  """The classes, in order, where every video lies in a folder."""
  if not all('/' in name for name in names):
    return None
  return tuple(sorted({class_of(name) for name in names})) or None


def check_classes(test_names: Sequence[str], class_names: Sequence[str], path):
  """Raises ValueError if a test video has a class that training lacks."""
  theirs = class_names_of(test_names) or ('(no class folder)',)
  if unknown := sorted(set(theirs) - set(class_names)):
    raise ValueError(
      f'test/ in {path} has classes that train/ lacks: {", ".join(unknown)}; a test class needs '
      'training videos'
    )


def hold_out(names: Iterable[str], fraction: float) -> tuple[list[str], list[str]]:
  """Training and test videos: the same whatever the order, and at least one of each.

  Raises:
    ValueError: there is one video only.
  """
  names = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
  if len(names) == 1:
    raise ValueError(f'{names[0]} is the only usable video; training needs one more to test with')
  n_test = min(max(1, round(fraction * len(names))), len(names) - 1)
  return sorted(names[n_test:]), sorted(names[:n_test])
