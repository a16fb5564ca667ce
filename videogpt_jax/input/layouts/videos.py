"""Video files in folders, with or without splits and classes above them; or one video file."""

from collections.abc import Sequence

from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import printable
from videogpt_jax.input.layouts.beside import beside
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, left_out
from videogpt_jax.input.layouts.walk import (
  NO_VIDEOS,
  VIDEOS,
  Tree,
  places,
  split_folders,
  stem,
  suffix,
)
from videogpt_jax.input.recording import Recording
from videogpt_jax.input.video_index import index


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the videos in a folder where some have the suffix of one."""
  return find_by_opening(tree, config) if tree.named(VIDEOS) else None


def find_by_opening(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns what opens as a video, whatever its suffix, but for files of other known kinds."""
  names = [name for name in tree.names if suffix(name) not in NO_VIDEOS]
  if not names:
    return None
  videos, skipped = open_videos(tree, names)
  where = places([name for name in names if name in videos or suffix(name) in VIDEOS])
  everything = frozenset(tree.names)
  entries, closed, problems = [], list(tree.closed), []
  for name, recording in videos.items():
    place = where[name]
    if place is None:
      skipped.append(Skipped(printable(name), 'lies beside the folders of the splits'))
      continue
    try:
      found = beside(tree.root, stem(name), everything, config.action_key)
    except UserError as error:
      problems.append((printable(name), error))
      continue
    label = place.label and printable(place.label)
    entries.append(Entry(recording, place.split, label or found.label, found.actions))
  skipped = (*closed, *skipped, *left_out(problems, entries))
  return Layout('a video file each', entries, skipped, split_names=split_folders(names))


def open_videos(tree: Tree, names: Sequence[str]) -> tuple[dict[str, Recording], list[Skipped]]:
  """Returns the recordings in video files, by path, and the files that are none."""
  by_shown = {printable(name): name for name in names}
  found = index(tree.root, {text: str(tree.root / name) for text, name in by_shown.items()})
  videos, skipped = {}, []
  for text, video in found.items():
    if isinstance(video, str):
      skipped.append(Skipped(text, video))
    else:
      videos[by_shown[text]] = video
  return {name: videos[name] for name in names if name in videos}, skipped
