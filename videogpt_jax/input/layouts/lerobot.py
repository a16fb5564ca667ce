"""LeRobot's folders, versions 2.0 to 3.0: parquet, and mp4 or images, read with pyarrow.

Source of the layout: huggingface/lerobot, `meta/info.json` names where everything lies. In version
3 a file holds several episodes, and `meta/episodes/` says which part is whose.
"""

import dataclasses
import json
from typing import Any

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.input.config import DatasetConfig
from videogpt_jax.input.faults import CONTENT_FAULTS, told
from videogpt_jax.input.layouts.layout import Entry, Layout, Skipped, some
from videogpt_jax.input.layouts.parquet import ParquetImages, columns, table
from videogpt_jax.input.layouts.sizes import common_size
from videogpt_jax.input.layouts.text import text_of
from videogpt_jax.input.layouts.walk import Tree, split_name
from videogpt_jax.input.recording import BrokenRecordingError, Part
from videogpt_jax.input.video_index import index

_INFO = 'meta/info.json'
_MISSING = 'is missing'
_LOOKS = 64  # episodes of which some images are looked at; each costs a part of its table


def find(tree: Tree, config: DatasetConfig) -> Layout | None:
  """Returns the episodes of a LeRobot folder, one camera each.

  Raises:
    UserError: `video_key` is no camera or `action_key` no feature, or a version is unknown.
  """
  if _INFO not in tree.names:
    return None
  with told(f'{tree.root / _INFO} cannot be read', CONTENT_FAULTS):
    info = json.loads(text_of((tree.root / _INFO).read_bytes()))
  if not isinstance(info, dict) or not info.keys() & {'codebase_version', 'data_path'}:
    return None
  with told(f'{tree.root / "meta"} does not describe a LeRobot data set', CONTENT_FAULTS):
    camera, remarks = _camera(info['features'], config.video_key, tree.root)
    action_key = config.action_key or ('action' if 'action' in info['features'] else '')
    if action_key and action_key not in info['features']:
      raise UserError(
        f'dataset.action_key ({action_key}) is no feature of {tree.root}; there are '
        f'{", ".join(info["features"])}'
      )
    info['fps'] = float(info['fps'])
    episodes = _episodes(tree, info)
    videos = _videos(tree, info, camera, episodes)
    splits, tasks = _splits(info), _tasks(episodes)
  entries, skipped = [], []
  for number, episode in sorted(episodes.items()):
    name = f'episode {number}'
    try:
      actions = _actions(tree, episode, action_key) if action_key else None
      if videos is None:
        look = number % max(1, len(episodes) // _LOOKS) == 0
        recording = _images(tree, info, camera, episode, name, look)
      else:
        recording = _part(videos, info, camera, episode, name)
    except BrokenRecordingError as error:
      skipped.append(Skipped(name, str(error)))
      continue
    split = splits.get(number) if splits else None
    if splits and not split:
      skipped.append(Skipped(name, 'in no split of meta/info.json'))
      continue
    entries.append(Entry(recording, split, tasks and tasks[number], actions))
  version = info.get('codebase_version', '')
  return Layout(f'episodes of LeRobot {version}'.strip(), entries, skipped, remarks=remarks)


def _camera(features, wanted, root) -> tuple[str, list[str]]:
  cameras = [key for key, feature in features.items() if feature['dtype'] in ('video', 'image')]
  matching = [key for key in cameras if wanted in (key, key.rpartition('.')[2])]
  if (wanted and not matching) or not cameras:
    raise UserError(
      f'dataset.video_key ({wanted}) is no camera of {root}; there are '
      f'{", ".join(cameras) or "none"}'
    )
  if wanted:
    return matching[0], []
  others = cameras[1:]
  more = (
    [f'camera {cameras[0]} is read; dataset.video_key may name {some(others)}'] if others else []
  )
  return cameras[0], more


def _episodes(tree, info) -> dict[int, dict[str, Any]]:
  """Returns what is known of each episode, by its number."""
  if 'meta/episodes.jsonl' in tree.names:
    lines = text_of((tree.root / 'meta/episodes.jsonl').read_bytes()).splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
  else:
    files = [n for n in tree.names if n.startswith('meta/episodes/') and n.endswith('.parquet')]
    found = [row for name in files for row in _of_file(str(tree.root / name))]
  if not found:
    raise UserError(f'{tree.root} has no meta/episodes, of LeRobot v2.0 to v3.0; convert it')
  for episode in found:
    number = episode['episode_index']
    episode['data'] = info['data_path'].format(
      episode_chunk=number // info.get('chunks_size', 1000),
      episode_index=number,
      chunk_index=episode.get('data/chunk_index', 0),
      file_index=episode.get('data/file_index', 0),
    )
  return {episode['episode_index']: episode for episode in found}


def _of_file(path):
  wanted = tuple(name for name in columns(path) if not name.startswith('stats/'))
  return table(path, wanted).to_pylist()


def _video(info, camera, episode) -> str:
  """Returns the path of the file that shows an episode."""
  number = episode['episode_index']
  return info['video_path'].format(
    video_key=camera,
    episode_chunk=number // info.get('chunks_size', 1000),
    episode_index=number,
    chunk_index=episode.get(f'videos/{camera}/chunk_index', 0),
    file_index=episode.get(f'videos/{camera}/file_index', 0),
  )


def _videos(tree, info, camera, episodes):
  """Returns the recordings in the camera's files, or why there are none; None if it has images."""
  if info['features'][camera]['dtype'] != 'video':
    return None
  names = sorted({_video(info, camera, episode) for episode in episodes.values()})
  there = {name: str(tree.root / name) for name in names if (tree.root / name).is_file()}
  return dict.fromkeys(names, _MISSING) | index(tree.root, there)


def _part(videos, info, camera, episode, name):
  """Returns an episode's part of its video."""
  file = _video(info, camera, episode)
  whole, length = videos[file], episode['length']
  if isinstance(whole, str):
    raise BrokenRecordingError(f'{file} {"" if whole == _MISSING else "cannot be used: "}{whole}')
  begin = episode.get(f'videos/{camera}/from_timestamp', 0.0)
  first = int(np.searchsorted(whole.times, begin - 0.5 / info['fps']))
  if first + length > len(whole):
    fault = f'breaks off: {whole.fault}' if whole.fault else f'has {len(whole)} frames'
    raise BrokenRecordingError(
      f'{file} {fault}; the episode is {length} frames from {begin:g} s on'
    )
  return Part(name, whole, first, length)


def _splits(info) -> dict[int, str]:
  """Returns the split of each episode, such as from {'train': '0:90', 'val': '90:100'}."""
  found = {}
  for name, part in info.get('splits', {}).items():
    if split := split_name(name):
      first, _, end = part.partition(':')
      found |= dict.fromkeys(range(int(first or 0), int(end or info['total_episodes'])), split)
  return found


def _tasks(episodes) -> dict[int, str] | None:
  """Returns the task of each episode as its class, or None if one has several or none."""
  tasks = {number: episode.get('tasks') or () for number, episode in episodes.items()}
  if any(len(names) != 1 for names in tasks.values()) or len({n[0] for n in tasks.values()}) < 2:
    return None
  return {number: names[0] for number, names in tasks.items()}


def _rows(tree, episode, *wanted):
  """Returns where an episode's rows lie in its file, and those columns of the file."""
  file = episode['data']
  if not (tree.root / file).is_file():
    raise BrokenRecordingError(f'{file} is missing')
  found = table(str(tree.root / file), ('episode_index', *wanted))
  rows = np.flatnonzero(found.column('episode_index').to_numpy() == episode['episode_index'])
  if len(rows) != episode['length']:
    raise BrokenRecordingError(f'{file} has {len(rows)} rows of it for {episode["length"]} frames')
  return rows, found


def _actions(tree, episode, key) -> np.ndarray:
  """Returns an episode's actions, [n A] or [n], in the order of their frames."""
  rows, found = _rows(tree, episode, 'frame_index', key)
  order = np.argsort(found.column('frame_index').to_numpy()[rows], kind='stable')
  return np.array(found.column(key).take(rows[order]).to_pylist())


def _images(tree, info, camera, episode, name, look) -> ParquetImages:
  """Returns an episode whose images lie in the table of its file, after a look at some of them."""
  rows, _ = _rows(tree, episode)
  path = str(tree.root / episode['data'])
  episode = ParquetImages(name, path, camera, int(rows[0]), len(rows), info['fps'])
  if not look:
    return episode
  names = {f'frame {i}': i for i in range(len(rows))}
  size, remarks = common_size(list(names), lambda key: episode.content(names[key]))
  return dataclasses.replace(episode, size=size, remarks=remarks)
