"""Scores a trained model, or clips of any origin.

  python -m videogpt_jax.evaluate --workdir=DIR
  python -m videogpt_jax.evaluate --samples=A --reference=B

A and B are folders (of videos, arrays or image folders, a clip each) or arrays [N T H W C].
docs/evaluation.md explains the scores, the protocols and the weights they need.
"""

import dataclasses
import math
from collections.abc import Sequence

from absl import flags
from etils import epath

from videogpt_jax import cli
from videogpt_jax.evaluation import evaluate, protocols, report
from videogpt_jax.evaluation.clips import ClipConfig, open_clips
from videogpt_jax.evaluation.networks import load_networks
from videogpt_jax.training import distributed
from videogpt_jax.training.logging import record_metrics

_WORKDIR = flags.DEFINE_string(
  'workdir', None, "A run's folder: its model is scored on the held-out clips of its data."
)
_SAMPLES = flags.DEFINE_string('samples', None, 'Clips to score: a folder, or .npy/.npz.')
_REFERENCE = flags.DEFINE_string('reference', None, 'Real clips: a folder, or .npy/.npz.')
_RECONSTRUCTIONS = flags.DEFINE_string(
  'reconstructions',
  None,
  'The real clips reconstructed, in the same order: a folder, or .npy/.npz.',
)
_PAIRED = flags.DEFINE_bool(
  'paired', False, 'Sample i belongs to reference i: adds PSNR, SSIM, LPIPS and NMSE.'
)
_PROTOCOL = flags.DEFINE_enum(
  'protocol', 'videogpt', list(protocols.PROTOCOLS), 'Clips in a trial, and trials.'
)
_N_TRIALS = flags.DEFINE_integer('n_trials', None, "Trials, other than the protocol's.")
_N_FRAMES = flags.DEFINE_integer('n_frames', 0, 'Frames of a clip; 0 takes all.')
_FRAME_STRIDE = flags.DEFINE_integer('frame_stride', 1, "Distance of a clip's frames.")
_CLIP_CHOICE = flags.DEFINE_enum(
  'clip_choice', 'first', ['first', 'middle', 'random'], 'Where in a recording its clip lies.'
)
_FLOAT_RANGE = flags.DEFINE_list(
  'float_range', ['0', '1'], 'What float pixels span, in all sets: LOW,HIGH.'
)
_RESOLUTION = flags.DEFINE_integer(
  'resolution', 0, 'Resizes the shorter side and keeps the centre; 0 leaves frames alone.'
)
_FVD_WEIGHTS = flags.DEFINE_string('fvd_weights', '', "I3D's file, for FVD and KVD.")
_IS_WEIGHTS = flags.DEFINE_list('is_weights', [], "C3D's file and its mean clip's: FILE,MEAN.")
_LPIPS_WEIGHTS = flags.DEFINE_list('lpips_weights', [], 'LPIPS: BACKBONE,LINEAR.')
_TRUST = flags.DEFINE_list(
  'trust_sha256', [], 'SHA-256 of files of weights that you vouch for, beyond the known ones.'
)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips at a time.', lower_bound=1)
_SEED = flags.DEFINE_integer(
  'seed', 0, 'Of the choice of real clips and of --clip_choice=random.', lower_bound=0
)
_OUT = flags.DEFINE_string(
  'out', None, 'File of the result; evaluation.json by default, in --workdir if there is one.'
)

# What says which clips are compared, and how they are cut: a workdir's own data set does.
_OF_CLIPS = (
  _SAMPLES,
  _REFERENCE,
  _RECONSTRUCTIONS,
  _PAIRED,
  _N_FRAMES,
  _FRAME_STRIDE,
  _CLIP_CHOICE,
  _FLOAT_RANGE,
  _RESOLUTION,
)


def main(argv: Sequence[str]):
  del argv
  distributed.refuse_others('evaluate')
  networks = load_networks(
    _FVD_WEIGHTS.value, _IS_WEIGHTS.value, _LPIPS_WEIGHTS.value, _TRUST.value
  )
  protocol, seed, batch_size = _protocol(), _SEED.value, _BATCH_SIZE.value
  folder = epath.Path(_WORKDIR.value or '.')
  if _WORKDIR.value:
    if given := [f'--{flag.name}' for flag in _OF_CLIPS if flag.present]:
      raise ValueError(f'--workdir brings its own clips; leave it or {", ".join(given)} out')
    from videogpt_jax.stages import score  # imports Orbax, which clips alone do not need

    result = score.score_workdir(folder, score.Scoring(protocol, networks, seed, batch_size))
  else:
    result = evaluate.evaluate(_clip_sets(), protocol, networks, seed=seed, batch_size=batch_size)
  report.write(result, epath.Path(_OUT.value or folder / 'evaluation.json'))
  if _WORKDIR.value:
    finite = {name: x for name, x in result['scores'].items() if math.isfinite(x)}
    record_metrics(folder, finite)
  print(report.summarise(result))


def _clip_sets() -> evaluate.ClipSets:
  if not _REFERENCE.value or not (_SAMPLES.value or _RECONSTRUCTIONS.value):
    raise ValueError('give --workdir; or --reference, and --samples or --reconstructions')
  config = ClipConfig(
    n_frames=_N_FRAMES.value,
    frame_stride=_FRAME_STRIDE.value,
    choice=_CLIP_CHOICE.value,
    seed=_SEED.value,
    float_range=_float_range(),
    resolution=_RESOLUTION.value,
  )
  open_if_given = lambda path: open_clips(path, config) if path else None
  return evaluate.ClipSets(
    reference=open_clips(_REFERENCE.value, config),
    samples=open_if_given(_SAMPLES.value),
    reconstructions=open_if_given(_RECONSTRUCTIONS.value),
    paired=_PAIRED.value,
    config=config,
  )


def _float_range() -> tuple[float, float]:
  try:
    low, high = map(float, _FLOAT_RANGE.value)
  except ValueError:
    given = ','.join(_FLOAT_RANGE.value)
    raise ValueError(f'--float_range ({given}) must be two numbers, LOW,HIGH') from None
  return low, high


def _protocol() -> protocols.Protocol:
  protocol = protocols.PROTOCOLS[_PROTOCOL.value]
  if _N_TRIALS.value is None:
    return protocol
  return dataclasses.replace(protocol, n_trials=_N_TRIALS.value)


if __name__ == '__main__':
  cli.start(main)
