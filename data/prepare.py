"""Raw videos to shards: `python data/prepare.py --source=DIR --out=DIR --resolution=64`.

Runs in one process a core; interrupted, it goes on with the shards that are not finished. What it
makes is read with dataset.source='tfrecord' and dataset.path=OUT; manifest.json says what is there.
"""

import dataclasses
import importlib
import os
import pathlib
import sys

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # run as a file, not as a module

from data.formats import Options
from videogpt_jax import cli

_FORMATS = ('folder', 'ucf101', 'kinetics600', 'tgif', 'bair', 'robonet', 'moving_mnist', 'vizdoom')

_SOURCE = flags.DEFINE_string('source', None, 'What to read: a folder, or a ViZDoom scenario.')
_OUT = flags.DEFINE_string('out', None, 'Directory to write, local or on a bucket.')
_FORMAT = flags.DEFINE_enum('format', 'folder', _FORMATS, 'Layout of the source; see data/cards.')
_WORKERS = flags.DEFINE_integer('workers', os.cpu_count(), 'Processes.', lower_bound=1)
_BEAM = flags.DEFINE_multi_string(
  'beam',
  None,
  'Run as an Apache Beam pipeline with this option; repeat for more. Needs apache-beam[tfrecord].',
)
_INDEX = flags.DEFINE_string('index', None, 'Only write the manifest of shards made elsewhere.')
_FRAMES_KEY = flags.DEFINE_string('frames_key', 'frames', 'With --index: name of that feature.')

flags.DEFINE_integer('resolution', 64, 'Height and width of the stored frames.')
flags.DEFINE_bool('antialias', False, 'Filter before scaling down.')
flags.DEFINE_integer('frame_skip', 1, 'Store every so many frames.')
flags.DEFINE_float('fps', 0.0, 'Frames a second to store, by time stamps; 0 goes by frame_skip.')
flags.DEFINE_integer('max_frames', 512, 'Cut longer recordings into records of so many; 0: never.')
flags.DEFINE_string('encoding', 'raw', 'Of stored frames: raw, png (a half of raw) or jpeg.')
flags.DEFINE_integer('official_split', 1, "Which of UCF-101's three official splits.")
flags.DEFINE_string('camera', '', 'Which view of a robot: image_aux1 or image_main, 0 to 4.')
flags.DEFINE_integer('n_generated', 0, 'Training clips or episodes to generate; 0: as the paper.')
flags.DEFINE_integer('seed', 0, 'Of what is generated.')


def main(argv):
  del argv
  manifest = _index() if _INDEX.value else _prepare()
  for split, total in manifest.totals().items():
    print(f'{split}: {total["clips"]} clips, {total["frames"]} frames')
  print(f'skipped: {len(manifest.skipped)}', *manifest.skipped[:20], sep='\n  ')


def _index():
  from videogpt_jax.input.shard_index import index_directory  # TensorFlow, after it is quietened

  manifest = index_directory(_INDEX.value, frames_key=_FRAMES_KEY.value)
  manifest.save(_INDEX.value)
  return manifest


def _prepare():
  if not _SOURCE.value or not _OUT.value:
    raise ValueError('--source and --out must both be given')
  if '://' in _SOURCE.value:
    raise ValueError(
      f'--source ({_SOURCE.value}) must be on a local disk; mount it, or copy it here'
    )
  from data import local

  options = Options(
    **{field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(Options)}
  )
  reader = importlib.import_module(f'data.formats.{_FORMAT.value}')
  listing = reader.list_items(_SOURCE.value, options)
  job = local.Job(_FORMAT.value, _SOURCE.value, _OUT.value, options)
  if _BEAM.value is None:
    return local.run(job, listing, _WORKERS.value)
  from data import beam

  return beam.run(job, listing, _BEAM.value)


if __name__ == '__main__':
  cli.start(main)
