"""Generates videos with a trained model.

python -m videogpt_jax.sample --workdir=DIR --num=8 --seed=0 --out=DIR2 [--temperature=0.9]
                              [--top_k=100] [--top_p=0.9] [--class_label=7] [--frames=clip.mp4]
"""

from collections.abc import Sequence

import numpy as np
from absl import flags
from etils.epath import Path

from videogpt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'A workdir, or a published checkpoint.')
_NUM = flags.DEFINE_integer('num', 8, 'Videos to generate.')
_SEED = flags.DEFINE_integer('seed', 0, 'Video i depends on the seed and i.')
_OUT = flags.DEFINE_string('out', None, 'Folder for the videos; it is made.')
_TEMPERATURE = flags.DEFINE_float('temperature', 1.0, 'Divides the logits; 0 is greedy.')
_TOP_K = flags.DEFINE_integer('top_k', None, 'Draw from so many of the most likely codes.')
_TOP_P = flags.DEFINE_float('top_p', None, 'Draw from the most likely codes that reach this.')
_CLASS_LABEL = flags.DEFINE_string(
  'class_label', None, 'Class of all videos, by name or number; classes take turns without it.'
)
_FRAMES = flags.DEFINE_string('frames', None, 'Video file whose first frames are gone on from.')
_FPS = flags.DEFINE_integer('fps', 8, 'Frames a second of the files.')


def main(argv: Sequence[str]):
  del argv
  if not (_WORKDIR.value and _OUT.value):
    raise ValueError('--workdir and --out must both be given')
  from videogpt_jax import load_videogpt, workdir
  from videogpt_jax.sampling.config import SampleConfig
  from videogpt_jax.stages import sample

  config = SampleConfig(_NUM.value, _TEMPERATURE.value, _TOP_K.value, _TOP_P.value, _FPS.value)
  model = load_videogpt(_WORKDIR.value)
  names = workdir.class_names(Path(_WORKDIR.value), model.config.n_classes)
  conditions = {}
  if _CLASS_LABEL.value is not None:
    conditions['class_label'] = class_number(_CLASS_LABEL.value, names)
  if _FRAMES.value is not None:
    frames = first_frames(Path(_FRAMES.value), model.config.n_cond_frames, model.vqvae.resolution)
    conditions['frames'] = np.repeat(frames[None], config.num, axis=0)
  samples = sample.draw(model, config, _SEED.value, class_names=names, **conditions)
  for file in sample.write(samples, Path(_OUT.value), config, _SEED.value):
    print(file)
  print(f'{samples.seconds_per_clip:.3f} s a video, compiling left out')


def class_number(label: str, names: Sequence[str]) -> int:
  """Returns the class of this name, else of this number.

  Raises:
    ValueError: there is no such class; it lists those there are.
  """
  if label in names:
    return list(names).index(label)
  if label.isdigit() and int(label) < len(names):
    return int(label)
  if not names:
    raise ValueError('this prior has no classes; leave --class_label out')
  raise ValueError(f'--class_label {label!r} is not a class; classes are {", ".join(names)}')


def first_frames(path: Path, n: int, resolution: int) -> np.ndarray:
  """Returns the first n frames of a video file, resized and cropped to the model's resolution.

  Args:
    path: of the file.
    n: frames that the prior is conditioned on.
    resolution: height and width.
  Returns:
    float32 [n resolution resolution 3] in [-0.5, 0.5].
  Raises:
    ValueError: the prior takes no frames, or the file is broken or too short.
  """
  from videogpt_jax.evaluation.resize import resize_and_crop
  from videogpt_jax.input import video_file

  if not n:
    raise ValueError('this prior is not conditioned on frames; leave --frames out')
  if not path.exists():
    raise FileNotFoundError(f'--frames {path} does not exist')
  try:
    recording = video_file.scan(path)
    if len(recording.stamps) < n:
      raise ValueError(f'{path} has {len(recording.stamps)} frames, but the prior needs {n}')
    frames = video_file.read_frames(path, recording, np.arange(n))
  except video_file.BrokenVideoError as error:
    raise ValueError(f'{path} cannot be read: {error}') from None
  if frames.shape[1:3] != (resolution, resolution):
    print(f'{path}: {frames.shape[2]}x{frames.shape[1]} resized to {resolution}x{resolution}')
  return np.asarray(resize_and_crop(frames / np.float32(255), resolution)) - np.float32(0.5)


if __name__ == '__main__':
  cli.start(main)
