"""What a run would see of its data: `python -m videogpt_jax.inspect_data --config=configs/demo.py`.

Counts, classes, lengths, what is skipped and why, throughput, and a picture of training clips.
"""

from collections.abc import Sequence

import numpy as np
from absl import flags
from ml_collections import config_flags
from PIL import Image

from videogpt_jax import cli, media
from videogpt_jax.config import from_dict

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file in configs/; --config.dataset.KEY=VALUE overrides a key.'
)
_SHEET = flags.DEFINE_string('sheet', 'contact_sheet.png', 'Picture to write: a clip a row.')
_N_CLIPS = flags.DEFINE_integer('n_clips', 8, 'Clips in the picture.', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 5.0, 'How long the throughput is measured.')
_N_FRAMES = 8  # of a clip in the picture
_N_NAMED = 20  # classes and skipped files that are named


def main(argv: Sequence[str]):
  del argv
  if _CONFIG.value is None:
    raise ValueError('--config is missing; for example --config=configs/demo.py')
  from videogpt_jax.input.inspection import inspect  # TensorFlow, which --help does not need

  experiment = from_dict(_CONFIG.value)
  found = inspect(experiment.dataset, _N_CLIPS.value, experiment.seed, _SECONDS.value)
  print(f'source      {experiment.dataset.source} {experiment.dataset.path}'.rstrip())
  for split, n in (('train', found.info.n_train), ('test', found.info.n_test)):
    print(f'{split:<11} {n} clips{_lengths(found.lengths[split])}')
  names = found.info.class_names
  print(f'classes     {len(names)}: {_some(names, ", ")}' if names else 'classes     none')
  print(f'actions     {found.info.action_dim or "none"}')
  for name, shape in found.shapes.items():
    print(f'batch       {name} {list(shape)}')
  print(f'throughput  {found.clips_per_second:.0f} clips a second, with nothing else to do')
  print(f'skipped     {len(found.skipped)}', *found.skipped[:_N_NAMED], sep='\n  ')
  if found.video is not None:
    _write_sheet(_SHEET.value, found.video)
    print(f'wrote       {_SHEET.value}')


def _lengths(lengths) -> str:
  if lengths is None:
    return ''
  shortest, middle, longest = np.quantile(lengths, (0, 0.5, 1)).astype(int)
  return f' of {shortest} to {longest} frames (median {middle})'


def _some(names, separator):
  more = f'{separator}and {len(names) - _N_NAMED} more' if len(names) > _N_NAMED else ''
  return separator.join(names[:_N_NAMED]) + more


def _write_sheet(path, video):
  """A clip float32 [T H W 3] in [-0.5, 0.5] a row, frames in even distances from left to right."""
  T = video.shape[1]
  n_frames = min(T, _N_FRAMES)
  which = np.linspace(0, T - 1, n_frames).round().astype(int)
  frames = np.clip((video[:, which] + 0.5) * 255, 0, 255).round().astype(np.uint8)
  cells = media.enlarge(frames.reshape(-1, 1, *frames.shape[2:]))
  Image.fromarray(media.grid(cells, columns=n_frames)[0]).save(path)


if __name__ == '__main__':
  cli.start(main)
