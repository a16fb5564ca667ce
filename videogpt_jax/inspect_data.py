"""Shows the data set of a configuration as a run would see it: what to run first.

  python -m videogpt_jax.inspect_data --config=configs/folder.py --config.dataset.path=MY_VIDEOS \\
    --sheet=clips.png --json=data.json

Prints the layout that was found, the number of clips, their classes, lengths, frame rates and
sizes, what is skipped and why, held-out recordings that training shows too, the throughput, and
what to set. --sheet also writes a picture of training clips, and a film beside it (clips.mp4).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils.epath import Path
from PIL import Image

from videogpt_jax import cli, media, memory, pixels
from videogpt_jax.config import Experiment, from_dict

_CONFIG = cli.define_config(example='configs/folder.py')
_SHEET = flags.DEFINE_string(
  'sheet', None, 'PNG file to write, with one clip in each row, and a film with the suffix mp4.'
)
_JSON = flags.DEFINE_string('json', None, 'File to write everything to, for programs.')
_N_CLIPS = flags.DEFINE_integer('n_clips', 8, 'Number of clips in the picture.', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 5.0, 'Seconds to measure the throughput for.')
_N_FRAMES = 8  # frames of each clip in the picture
_N_NAMED = 20  # classes and skipped files to print
_BINS, _BAR = 6, 24  # rows of a histogram, and its longest bar
_FPS = 8


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax.input import advice, inspection  # import TensorFlow, which --help does not need
  from videogpt_jax.input.faults import printable

  experiment = from_dict(_CONFIG.value)
  found = inspection.inspect(experiment.dataset, _N_CLIPS.value, experiment.seed, _SECONDS.value)
  batch_size = experiment.vqvae_training.batch_size
  advised = [*advice.advice(found, experiment.dataset, batch_size), *_memory(experiment)]
  for line in _lines(found, experiment):
    print(printable(line))
  print('advice', *(advised or ['none']), sep='\n  ')
  if _SHEET.value and found.video is not None:
    for file in _write_pictures(Path(_SHEET.value), found, experiment.dataset):
      print(f'wrote       {file}')
  if _JSON.value:
    from videogpt_jax.files import write_json

    write_json(Path(_JSON.value), found.to_json() | {'advice': advised})
    print(f'wrote       {_JSON.value}')


def _lines(found, experiment: Experiment) -> Iterator[str]:
  dataset = experiment.dataset
  yield f'source      {dataset.source} {dataset.path}'.rstrip()
  yield f'layout      {found.layout}'
  yield from (f'            {remark}' for remark in found.remarks)
  counts = found.to_json()['splits']
  for split, lengths in found.lengths.items():
    n = counts[split]['recordings']
    yield f'{split:<11} {n} {"clip" if n == 1 else "clips"}{_spread(lengths)}'
  names = found.info.class_names
  yield f'classes     {len(names)}: {_some(names, ", ")}' if names else 'classes     none'
  yield f'actions     {found.info.action_dim or "none"}'
  if lengths := [n for n in found.lengths.values() if n is not None]:
    yield from histogram('frames', _binned(np.concatenate(lengths)))
  yield from histogram('fps', {f'{rate:g}': n for rate, n in found.frame_rates.items()})
  yield from histogram('sizes', {f'{h}x{w}': n for (h, w), n in found.sizes.items()})
  for name, shape in found.shapes.items():
    yield f'batch       {name} {found.dtypes[name]} {list(shape)}'
  yield f'throughput  {found.clips_per_second:.0f} clips per second, with nothing training beside'
  if n := found.n_compared:
    held_out = 'held-out recording' if n == 1 else 'held-out recordings'
    yield f'alike       {len(found.alike)} of {n} {held_out} to one in training'
    yield from (f'  {theirs} is {ours}' for ours, theirs in found.alike[:_N_NAMED])
  yield f'skipped     {len(found.skipped)}'
  yield from (f'  {line}' for line in found.skipped[:_N_NAMED])
  if len(found.skipped) > _N_NAMED:
    yield f'  and {len(found.skipped) - _N_NAMED} more; --json=FILE names all'


def _spread(lengths) -> str:
  if lengths is None or not len(lengths):
    return ''
  shortest, middle, longest = np.quantile(lengths, (0, 0.5, 1)).astype(int)
  if shortest == longest:
    return f' of {shortest} frames'
  return f' of {shortest} to {longest} frames (median {middle})'


def _some(names, separator):
  more = f'{separator}and {len(names) - _N_NAMED} more' if len(names) > _N_NAMED else ''
  return separator.join(names[:_N_NAMED]) + more


def _binned(lengths) -> dict[str, int]:
  """Returns numbers of recordings by length, in bins where there are many lengths."""
  values, n = np.unique(lengths, return_counts=True)
  if len(values) <= _BINS:
    return dict(zip(map(str, values), n.tolist(), strict=True))
  n, edges = np.histogram(lengths, np.unique(np.linspace(values[0], values[-1] + 1, 7).astype(int)))
  names = (f'{a} to {b - 1}' for a, b in itertools.pairwise(edges))
  return dict(zip(names, n.tolist(), strict=True))


def histogram(name: str, counts: Mapping[Any, int]) -> Iterator[str]:
  """Yields a line for each of the most frequent values, with a bar."""
  if not counts:
    return
  most = sorted(counts, key=counts.get, reverse=True)[:_BINS]
  width, highest = max(len(str(value)) for value in most), max(counts.values())
  for value in (value for value in counts if value in most):
    bar = '#' * max(1, round(_BAR * counts[value] / highest)) if counts[value] else ''
    yield f'{name:<11} {value!s:>{width}} {bar:<{_BAR}} {counts[value]}'
    name = ''
  if len(counts) > len(most):
    yield f'            and {len(counts) - len(most)} other values'


def _memory(experiment: Experiment) -> Iterator[str]:
  """Yields whether the VQ-VAE's training step fits this machine's device."""
  n, available = experiment.vqvae_training.batch_size, memory.device_bytes()
  needed = memory.vqvae_bytes(experiment, n)
  gigabytes = f'{needed / 2**30:.2g} of {available / 2**30:.3g} GiB'
  largest = memory.largest_batch(experiment, available)
  if needed <= available:
    yield f'a VQ-VAE step of {n} clips needs at most about {gigabytes}; up to {largest} clips fit'
  else:
    remedy = f'--config.vqvae_training.batch_size={largest}' if largest else 'a lower resolution'
    yield f'a VQ-VAE step of {n} clips may need {gigabytes}: {remedy} fits'


def _write_pictures(path: Path, found, dataset) -> list[Path]:
  """Writes a sheet of training clips, and a film of them."""
  from videogpt_jax.input import pictures

  video = pictures.with_actions(pixels.to_uint8(found.video), found.actions)
  picture = pictures.sheet(video, _N_FRAMES)
  if found.wholes:
    wholes = [pictures.chosen_part(frame, dataset) for frame in found.wholes]
    picture = np.concatenate([picture, pictures.beside(wholes, picture.shape[1])])
  Image.fromarray(picture).save(path)
  film = path.with_suffix('.mp4')
  media.write_mp4(film, media.grid(media.enlarge(video)), round(dataset.fps) or _FPS)
  return [path, film]


if __name__ == '__main__':
  cli.start(main)
