"""Generates videos with a trained model.

  python -m videogpt_jax.sample --model=runs/demo --num=8 --seed=0 --out=videos --class_label=7
  python -m videogpt_jax.sample --model=runs/bair --num=8 --out=videos --frames=clip.mp4 \\
      --actions=actions.npy --num_frames=128 --temperature=0.9 --top_k=100 --guidance=2

Without --class_label the classes take turns. All devices of this machine share the videos.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from etils.epath import Path

from videogpt_jax import cli
from videogpt_jax.errors import UserError
from videogpt_jax.files import check_folder

_MODEL = cli.define_model()
_NUM = flags.DEFINE_integer('num', 8, 'Videos to generate.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Video i depends on the seed and i.')
_OUT = cli.required(
  flags.DEFINE_string('out', None, 'Folder for the videos, made if necessary.'), 'videos'
)
_DRAWING = cli.define_drawing()
_BEST_OF = flags.DEFINE_integer('best_of', 1, 'Draws of every clip; the likeliest is kept.')
_NUM_FRAMES = flags.DEFINE_integer(
  'num_frames', None, 'Frames of each video; more than a clip has are made clip after clip.'
)
_STRATEGY = flags.DEFINE_string(
  'strategy', 'auto', 'How codes follow one another: sequential, speculative or masked.'
)
_PASSES = flags.DEFINE_integer(
  'passes', 0, 'Passes through a prior that decodes in parallel; 0 takes 12.', lower_bound=0
)
_CLASS_LABEL = flags.DEFINE_string(
  'class_label',
  None,
  'A class by name or number, or one for each video: cat,dog.',
)
_FRAMES = flags.DEFINE_string(
  'frames',
  None,
  'Begins with the frames that the prior is conditioned on: a video, a folder of images, an array, '
  'or a photo for one frame.',
)
_CONTINUE = flags.DEFINE_string(
  'continue', None, 'What to continue, as for --frames: the videos begin with its last frames.'
)
_ACTIONS = flags.DEFINE_string('actions', None, 'NumPy file of float [frames, action_dim].')
_FPS = flags.DEFINE_integer(
  'fps', None, "Frames a second of the files; by default the clips' own.", lower_bound=1
)
_TENSOR = flags.DEFINE_integer(
  'tensor', 1, 'Devices that share the heads; the others share the videos.'
)


def main(argv: Sequence[str]):
  del argv
  check_folder('--out', out := Path(_OUT.value))
  if _NUM_FRAMES.value is not None and _NUM_FRAMES.value < 1:
    raise UserError(f'--num_frames ({_NUM_FRAMES.value}) must be at least 1')
  from videogpt_jax import load_videogpt, loading
  from videogpt_jax.stages import draw
  from videogpt_jax.training.sharding import MeshConfig, make_mesh

  config, path = sample_config(), Path(loading.find_model(_MODEL.value))
  mesh = make_mesh(MeshConfig(tensor=_TENSOR.value))
  cli.announce_devices()
  model = load_videogpt(path, mesh)
  if path.is_dir():
    from videogpt_jax import workdir  # Orbax, which a file does not need

    for line in [*workdir.in_use(path), *(f'warning: {x}' for x in workdir.unfinished(path))]:
      print(line)
  brought = brought_conditions(model, loading.load_starts(path))
  samples = draw.draw(model, config, _SEED.value, **given(model, brought))
  notes = {flag.name: flag.value for flag in _NOTED if flag.value is not None}
  notes |= {'model': _MODEL.value} | ({'brought': sorted(brought)} if brought else {})
  for file in draw.write(samples, out, config, _SEED.value, notes, frame_rate(model.cut)):
    print(file)
  print(f'{samples.seconds_per_clip:.3f} s a video, compiling left out')


_NOTED = (_CLASS_LABEL, _FRAMES, _CONTINUE, _ACTIONS)
"""Flags that samples.json records, beside the settings."""

_SETTINGS = (_NUM, _FPS, *_DRAWING, _BEST_OF, _NUM_FRAMES, _STRATEGY, _PASSES)
"""Flags that are fields of SampleConfig."""


def sample_config():
  """Returns the SampleConfig that the flags state."""
  from videogpt_jax.sampling.settings import SampleConfig

  stated = {flag.name: flag.value for flag in _SETTINGS if flag.value is not None}
  return SampleConfig(**stated)


def brought_conditions(model, starts) -> dict[str, object]:
  """Returns the conditions that the flags leave out and the model's own clips have, and says so.

  Args:
    model: a VideoGPT.
    starts: its `Starts`, or None.
  """
  if starts is None:
    return {}
  brought = dict(starts.conditions(_NUM.value, model.config, _NUM_FRAMES.value or 0))
  if _FRAMES.value or _CONTINUE.value or 'frames' not in brought:
    brought.pop('frames', None)  # whose class would be another's
    brought.pop('class_label', None)
  if _CLASS_LABEL.value:
    brought.pop('class_label', None)
  if _ACTIONS.value:
    brought.pop('actions', None)
  if brought:
    what = ' and '.join(sorted(brought)).replace('class_label', 'classes')
    print(f'{what}: those of the {len(starts.frames)} held-out clips that the model brings')
  return brought


def given(model, brought: dict[str, object]) -> dict[str, object]:
  """Returns what the videos show, as `VideoGPT.request` takes it: `brought`, and by the flags."""
  frames = bool(_FRAMES.value or _CONTINUE.value) or 'frames' in brought
  check_given(model.config, frames, bool(_ACTIONS.value) or 'actions' in brought)
  labels = (_CLASS_LABEL.value or '').split(',')
  flags = {
    'class_label': (labels if len(labels) > 1 else labels[0]) or None,
    'frames': _FRAMES.value,
    'continue_from': _CONTINUE.value,
    'actions': _ACTIONS.value,
  }
  return flags | brought


def frame_rate(cut) -> float:
  """Returns the frames a second of the file that was given, or of the clips trained on."""
  from videogpt_jax import readers

  if not (path := _FRAMES.value or _CONTINUE.value):
    return cut.frame_rate
  return cut.frame_rate_of(readers.open_recording('frames', pathlib.Path(path))) or cut.frame_rate


def check_given(config, frames: bool, actions: bool):
  """Refuses to begin without the conditions that the prior needs (UserError).

  Args:
    config: the PriorConfig.
    frames, actions: whether there are some.
  """
  if config.n_cond_frames and not frames:
    raise UserError(
      f'this prior is conditioned on frames; give --frames=clip.mp4, a video that begins with the '
      f'{config.n_cond_frames} it needs, or --continue=clip.mp4'
    )
  if config.action_dim and not actions:
    raise UserError(
      'this prior is conditioned on actions; give --actions=FILE.npy, float [frames, '
      f'{config.action_dim}]'
    )


if __name__ == '__main__':
  cli.start(main)
