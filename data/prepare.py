"""Prepares raw videos as shards.

  python data/prepare.py --source=MY_VIDEOS --out=shards/mine --resolution=64

Runs one process per core and resumes with the shards that are not finished. Train on the shards
with --config.dataset.source=tfrecord --config.dataset.path=shards/mine; their manifest.json says
what they hold.
"""

import dataclasses
import importlib
import os
import pathlib
import sys

from absl import flags
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # this file is run by its path

from data.formats import Options
from videogpt_jax import cli
from videogpt_jax.errors import UserError
from videogpt_jax.framing import FITS

_FORMATS = ('folder', 'ucf101', 'kinetics600', 'tgif', 'bair', 'robonet', 'moving_mnist', 'vizdoom')

_SOURCE = flags.DEFINE_string(
  'source', None, 'Folder, list or file to read, or a ViZDoom scenario.'
)
_OUT = flags.DEFINE_string('out', None, 'Directory to write, local or in a bucket.')
_FORMAT = flags.DEFINE_enum('format', 'folder', _FORMATS, 'Format of the source; see data/cards.')
_WORKERS = flags.DEFINE_integer('workers', os.cpu_count(), 'Number of processes.', lower_bound=1)
_BEAM = flags.DEFINE_multi_string(
  'beam',
  None,
  'Option of an Apache Beam pipeline to run instead; repeatable. Needs apache-beam[tfrecord].',
)
_INDEX = flags.DEFINE_string('index', None, 'Directory of shards to write only a manifest for.')
_FRAMES_KEY = flags.DEFINE_string('frames_key', 'frames', 'Frames feature, with --index.')

_RESOLUTION = flags.DEFINE_list(
  'resolution', '64', 'Side of the stored frames, or height and width: --resolution=36,64.'
)
flags.DEFINE_bool('antialias', False, 'Whether to filter before scaling down.')
flags.DEFINE_integer('frame_skip', 1, 'Distance between two stored frames.')
flags.DEFINE_float('fps', 0.0, 'Frames per second to store, by time stamps; 0 uses --frame_skip.')
flags.DEFINE_integer('max_frames', 512, 'Maximum frames per record; 0 never splits recordings.')
flags.DEFINE_string('encoding', 'raw', 'Format of stored frames: raw, png or jpeg.')
flags.DEFINE_enum('fit', 'crop', FITS, 'How frames of another aspect ratio become that size.')
flags.DEFINE_string('video_key', '', 'Which video of a folder; see dataset.video_key.')
flags.DEFINE_string('action_key', '', 'Which actions of a folder; see dataset.action_key.')
flags.DEFINE_string('columns', '', 'Columns of a list; see dataset.columns.')
flags.DEFINE_string('axes', '', 'Axes of arrays; see dataset.axes.')
flags.DEFINE_string('action_order', 'leads_from', 'leads_from or leads_to; see dataset.')
flags.DEFINE_string('background', 'white', 'Colour behind transparent pixels.')
flags.DEFINE_enum('broken', 'skip', ['skip', 'keep', 'stop'], 'What becomes of broken files.')
flags.DEFINE_float('test_fraction', 0.1, 'Held out of a folder that holds nothing out itself.')
flags.DEFINE_string('group', '', 'Recordings to hold out together; see dataset.group.')
flags.DEFINE_integer('official_split', 1, "Number of UCF-101's official split, 1 to 3.")
flags.DEFINE_string('camera', '', 'Camera of a robot: image_aux1 or image_main, or 0 to 4.')
flags.DEFINE_string('policy', 'random', 'Who plays a game: random, explore, or mixed for both.')
flags.DEFINE_integer('n_generated', 0, 'Training clips or episodes to generate; 0 as in the paper.')
flags.DEFINE_integer('seed', 0, 'Seed of generated clips.')


def main(argv):
  del argv
  manifest = _index() if _INDEX.value else _prepare()
  for split, total in manifest.totals().items():
    print(f'{split}: {total["clips"]} clips, {total["frames"]} frames')
  print(f'skipped: {len(manifest.skipped)}', *manifest.skipped[:20], sep='\n  ')


def _index():
  from videogpt_jax.input import shard_index  # imports TensorFlow, which cli.start configures

  manifest = shard_index.index_directory(_INDEX.value, frames_key=_FRAMES_KEY.value)
  manifest.save(_INDEX.value)
  return manifest


def _prepare():
  if not _SOURCE.value or not _OUT.value:
    raise UserError(
      '--source and --out must both be given; for example --source=MY_VIDEOS --out=shards/mine'
    )
  if '://' in _SOURCE.value:
    raise UserError(
      f'--source ({_SOURCE.value}) must be on a local disk; mount it, or copy it here'
    )
  from data import local
  from videogpt_jax.files import check_folder

  check_folder('--out', epath.Path(_OUT.value))
  values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Options)}
  options = Options(**values | {'resolution': _resolution()})
  options.check_format(_FORMAT.value)
  reader = importlib.import_module(f'data.formats.{_FORMAT.value}')
  listing = reader.list_items(_SOURCE.value, options)
  job = local.Job(_FORMAT.value, _SOURCE.value, _OUT.value, options)
  if _BEAM.value is None:
    return local.run(job, listing, _WORKERS.value)
  from data import beam

  return beam.run(job, listing, _BEAM.value)


def _resolution():
  sides = _RESOLUTION.value
  if len(sides) not in (1, 2) or not all(side.isdigit() for side in sides):
    raise UserError(f'--resolution ({",".join(sides)}) must be a number, or two: 36,64')
  return tuple(map(int, sides)) if sides[1:] else int(sides[0])


if __name__ == '__main__':
  cli.start(main)
