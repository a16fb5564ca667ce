"""Generates videos with a trained model.

python -m videogpt_jax.sample --workdir=DIR --num=8 --seed=0 --out=DIR2 [--temperature=0.9]
                              [--top_k=100] [--top_p=0.9] [--guidance=2] [--best_of=4]
                              [--class_label=7] [--frames=clip.mp4] [--continue=clip.mp4]
                              [--actions=actions.npy] [--num_frames=128]
"""

import os
import pathlib
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
_GUIDANCE = flags.DEFINE_float(
  'guidance', 1.0, 'Exaggerates what the condition changes; needs prior.cond_dropout in training.'
)
_BEST_OF = flags.DEFINE_integer('best_of', 1, 'Draw every clip so often, keep the likeliest.')
_CLASS_LABEL = flags.DEFINE_string(
  'class_label', None, 'Class of all videos, by name or number; classes take turns without it.'
)
_FRAMES = flags.DEFINE_string(
  'frames', None, 'Video file whose first frames a prior conditioned on frames is given.'
)
_CONTINUE = flags.DEFINE_string(
  'continue', None, 'Video file that is gone on from: the videos begin with its last frames.'
)
_ACTIONS = flags.DEFINE_string('actions', None, 'NumPy file of float [frames action_dim].')
_NUM_FRAMES = flags.DEFINE_integer(
  'num_frames', None, 'Frames of each video; more than a clip has are made clip after clip.'
)
_FPS = flags.DEFINE_integer('fps', 8, 'Frames a second of the files.')
_TENSOR = flags.DEFINE_integer(
  'tensor', 1, 'Devices that share the heads; all others share the videos.'
)


def main(argv: Sequence[str]):
  del argv
  if not (_WORKDIR.value and _OUT.value):
    raise ValueError('--workdir and --out must both be given')
  out, path = Path(_OUT.value), Path(_WORKDIR.value)
  check_out(out)
  if _NUM_FRAMES.value is not None and _NUM_FRAMES.value < 1:
    raise ValueError(f'--num_frames ({_NUM_FRAMES.value}) must be at least 1')
  from videogpt_jax import load_videogpt, workdir
  from videogpt_jax.sampling.config import SampleConfig
  from videogpt_jax.stages import sample
  from videogpt_jax.training.sharding import MeshConfig, make_mesh

  config = SampleConfig(
    _NUM.value,
    _TEMPERATURE.value,
    _TOP_K.value,
    _TOP_P.value,
    _FPS.value,
    _GUIDANCE.value,
    _BEST_OF.value,
    _NUM_FRAMES.value or 0,
  )
  mesh = make_mesh(MeshConfig(tensor=_TENSOR.value))
  model = load_videogpt(path, mesh)
  for warning in workdir.unfinished(path):
    print(f'warning: {warning}')
  names = workdir.class_names(path, model.config.n_classes)
  conditions = _conditions(model, config.num, names)
  if mesh.size > 1:
    sample.place(model, mesh)
  samples = sample.draw(model, config, _SEED.value, conditions, names)
  given = {
    name: value
    for name, value in (
      ('workdir', _WORKDIR.value),
      ('class_label', _CLASS_LABEL.value),
      ('frames', _FRAMES.value),
      ('continue', _CONTINUE.value),
      ('actions', _ACTIONS.value),
    )
    if value is not None
  }
  for file in sample.write(samples, out, config, _SEED.value, given):
    print(file)
  print(f'{samples.seconds_per_clip:.3f} s a video, compiling left out')


def check_out(out: Path):
  """Refuses, before anything is drawn, a folder that cannot be written to (ValueError)."""
  if '://' in str(out):  # a bucket, whose rights show when something is written
    return
  there = next(path for path in (out, *out.absolute().parents) if path.exists())
  if not there.is_dir():
    raise ValueError(f'--out {out}: {there} is a file; name a folder')
  if not os.access(there, os.W_OK | os.X_OK):
    raise ValueError(f'--out {out}: cannot write to {there}; name another folder')


def _conditions(model, num: int, names: Sequence[str]):
  """What the flags say of what the videos are to show."""
  from videogpt_jax.stages.sample import Conditions

  label = frames = actions = earlier = None
  size, n_cond_frames = model.vqvae.resolution, model.config.n_cond_frames
  check_given(model.config, bool(_FRAMES.value or _CONTINUE.value), bool(_ACTIONS.value))
  if _CLASS_LABEL.value is not None:
    label = class_number(_CLASS_LABEL.value, names)
  if _FRAMES.value is not None:
    if not n_cond_frames:
      raise ValueError(
        'this prior is not conditioned on frames; leave --frames out, or use --continue'
      )
    frames = read_frames('--frames', pathlib.Path(_FRAMES.value), size, slice(n_cond_frames))
    _check_length('--frames', _FRAMES.value, frames, n_cond_frames)
  if _CONTINUE.value is not None:
    if frames is not None:
      raise ValueError('--frames and --continue both say what comes first; give one of them')
    wanted = beginning_of_continuation(model)
    clip = slice(-max(model.vqvae.sequence_length, wanted), None)
    earlier = read_frames('--continue', pathlib.Path(_CONTINUE.value), size, clip)
    _check_length('--continue', _CONTINUE.value, earlier, wanted)
  if _ACTIONS.value is not None:
    actions = read_actions(pathlib.Path(_ACTIONS.value), model.config.action_dim)
  repeat = lambda x: None if x is None else np.repeat(x[None], num, axis=0)
  return Conditions(label, repeat(frames), repeat(actions), repeat(earlier))


def check_given(config, frames: bool, actions: bool):
  """Refuses to begin without what the prior must be told (ValueError).

  Args:
    config: the PriorConfig.
    frames, actions: whether there are some.
  """
  if config.n_cond_frames and not frames:
    raise ValueError(
      f'this prior is conditioned on frames; give --frames=clip.mp4, a video that begins with the '
      f'{config.n_cond_frames} it needs, or --continue=clip.mp4'
    )
  if config.action_dim and not actions:
    raise ValueError(
      'this prior is conditioned on actions; give --actions=FILE.npy, float [frames, '
      f'{config.action_dim}]'
    )


def class_number(label: str, names: Sequence[str]) -> int:
  """Returns the class of this name, else of this number.

  Raises:
    ValueError: there is no such class; it lists those there are.
  """
  if label in names:
    return list(names).index(label)
  if label.isdecimal() and int(label) < len(names):
    return int(label)
  if not names:
    raise ValueError('this prior has no classes; leave --class_label out')
  raise ValueError(f'--class_label {label!r} is not a class; classes are {", ".join(names)}')


def beginning_of_continuation(model) -> int:
  """Returns how many frames of another video one that goes on from it begins with."""
  from videogpt_jax.sampling import windows

  return windows.plan(model.vqvae.spec, model.config.n_cond_frames, 1, goes_on=True).shared


def read_frames(flag: str, path: pathlib.Path, resolution: int, which: slice) -> np.ndarray:
  """Returns frames of a video file, resized and cropped to the model's resolution.

  Args:
    flag: that names the file.
    path: of the file.
    resolution: height and width.
    which: of its frames; fewer come where it has not as many.
  Returns:
    float32 [n resolution resolution 3] in [-0.5, 0.5].
  Raises:
    ValueError: the file cannot be read.
  """
  from videogpt_jax.evaluation.resize import resize_and_crop
  from videogpt_jax.input import video_file

  if not path.exists():
    raise FileNotFoundError(f'{flag} {path} does not exist')
  try:
    recording = video_file.scan(path)
    indices = np.arange(len(recording.stamps))[which]
    frames = video_file.read_frames(path, recording, indices)
  except video_file.BrokenVideoError as error:
    raise ValueError(f'{flag} {path} cannot be read: {error}') from None
  if frames.shape[1:3] != (resolution, resolution):
    print(f'{path}: {frames.shape[2]}x{frames.shape[1]} resized to {resolution}x{resolution}')
  return np.asarray(resize_and_crop(frames / np.float32(255), resolution)) - np.float32(0.5)


def read_actions(path: pathlib.Path, action_dim: int) -> np.ndarray:
  """Returns float32 [frames action_dim] of a NumPy file.

  Raises:
    ValueError: the prior takes no actions, or the file holds something else.
  """
  if not action_dim:
    raise ValueError('this prior is not conditioned on actions; leave --actions out')
  try:
    actions = np.load(path, allow_pickle=False)
  except (ValueError, EOFError) as error:
    raise ValueError(f'--actions {path} is no NumPy array ({error})') from None
  if getattr(actions, 'ndim', 0) != 2 or actions.shape[1] != action_dim:
    raise ValueError(
      f'--actions {path} has shape {getattr(actions, "shape", None)}; this prior wants [frames, '
      f'{action_dim}]'
    )
  return actions.astype(np.float32)


def _check_length(flag: str, path: str, frames: np.ndarray, wanted: int):
  if len(frames) < wanted:
    raise ValueError(f'{flag} {path} has {len(frames)} frames, but the prior needs {wanted}')


if __name__ == '__main__':
  cli.start(main)
