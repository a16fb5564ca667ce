"""Whether the seams of longer videos show: `python -m benchmarks.seams --model=runs/demo`.

Where one clip gives way to the next, frames should change no more than elsewhere. A VQ-VAE has
seams of its own, between latent frames; so those count apart, and real videos are measured at the
same places. The beginnings of later clips should cost the prior no more bits than those of real
clips. FVD of windows across the joints should be that of the first clip. Held-out clips give the
prior its frames, classes and actions. Not in `make bench`, since a seam can only be judged on a
trained model.
"""

import dataclasses

import numpy as np
from absl import flags
from etils.epath import Path

from benchmarks.frame_changes import (
  across_joints,
  bits_by_latent_frame,
  changes,
  overlap_psnr,
  places,
  ratio,
  with_old_beginnings,
)
from videogpt_jax import cli
from videogpt_jax.errors import UserError

_MODEL = cli.define_model('A workdir with a trained prior.')
_NUM = flags.DEFINE_integer('num', 32, 'Videos.', lower_bound=2)
_NUM_FRAMES = flags.DEFINE_integer('num_frames', 128, 'Frames of each.', lower_bound=1)
_TEMPERATURE = flags.DEFINE_float('temperature', 1.0, 'Divides the logits.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the videos.')


def main(argv):
  del argv
  from videogpt_jax import load_videogpt, workdir
  from videogpt_jax.input import pipeline
  from videogpt_jax.models.conditioners import from_batch
  from videogpt_jax.sampling import windows

  path, num, num_frames = Path(_MODEL.value), _NUM.value, _NUM_FRAMES.value
  model, dataset = load_videogpt(path), workdir.read_experiment(path).dataset
  config, spec = model.config, model.vqvae.spec
  plan = windows.plan(spec, config, num_frames)
  if len(plan.starts) == 1:
    raise UserError(f'--num_frames ({num_frames}) fits into a clip of {plan.clip}: no seam')
  dataset = dataclasses.replace(dataset, sequence_length=num_frames)
  real = pipeline.first_test_clips(dataset, num)
  request = model.request(
    len(real['video']),
    _SEED.value,
    conditions=from_batch(real, config),
    temperature=_TEMPERATURE.value,
    num_frames=num_frames,
  )
  made = model.generate(request)
  _print_changes(made.video, real['video'], plan, spec.time_grid.factor)
  if plan.shared and not plan.streams:
    found = ' '.join(f'{x:.1f}' for x in overlap_psnr(model, made.codes, plan.shared))
    print(f'two decodings of the frames that clips share, PSNR in dB: {found}')
  if plan.shared_latents and not (config.n_cond_frames or config.action_dim):
    _print_bits(model, made.codes, real['video'], request.conditions, plan)
  _print_fvd(made.video, real['video'], plan)


def _print_changes(generated, real, plan, latent_step: int):
  found = places(plan, generated.shape[1], latent_step)
  for name, video in (('generated', generated), ('real', real)):
    change = changes(video)
    print(f'{name}: mean change from frame to frame, of pixels in [0, 1], where there begins')
    for place, frames in found.items():
      line = f'  {place:15s} {change[:, frames].mean():.4f}'
      if place != 'neither':
        line += ', {:.2f} +- {:.2f} times that of neither'.format(
          *ratio(change, frames, found['neither'])
        )
      print(line)
    at, latent = found['a clip'], found['a latent frame']
    if len(latent):
      line = '  a clip against a latent frame: {:.2f} +- {:.2f} times'
      print(line.format(*ratio(change, at, latent)))


def _print_bits(model, codes, real, conditions, plan):
  """What the beginnings of later clips cost the prior, against those of real clips."""
  later = {'later clips': codes[:, 1:]}
  if not plan.streams:
    later['beginning with the codes of an end'] = with_old_beginnings(codes, plan.shared_latents)
  sets = {'real clips': model.vqvae.encode(real[:, : plan.clip])[:, None]} | later
  print('bits a code by latent frame')
  for name, clips in sets.items():
    repeated = {key: np.repeat(x, clips.shape[1], axis=0) for key, x in conditions.items()}
    flat = np.asarray(clips).reshape(-1, *clips.shape[2:])
    bits = bits_by_latent_frame(model, flat, repeated)
    print(f'  {name:36s} {" ".join(f"{x:.2f}" for x in bits)}')


def _print_fvd(generated, real, plan):
  """FVD of windows with and without a joint, against real windows of the same frames."""
  from videogpt_jax.evaluation import features, networks, scoring
  from videogpt_jax.evaluation.clip_sets import ArrayClips
  from videogpt_jax.pixels import to_uint8

  network = networks.load_networks(None).features
  if network is None or plan.clip < network.min_frames:
    print('no FVD: it needs .[fvd] and clips of at least 9 frames')
    return
  every = np.arange(len(generated))
  for name, start in across_joints(plan).items():
    window = slice(start, start + plan.clip)
    made = to_uint8(generated[:, window], (0, 1), clip=True)
    pair = (made, to_uint8(real[:, window], clip=True))
    trials = [
      scoring.Trials(features.extract(ArrayClips(x), every, {'': network})[''], every[None])
      for x in pair
    ]
    fvd = scoring.fvd(*trials)
    print(
      'FVD of {}, frames {} to {}: {:.1f}  (95 %: {:.1f} to {:.1f})'.format(
        name, start, start + plan.clip - 1, fvd.value, *fvd.interval
      )
    )


if __name__ == '__main__':
  cli.start(main)
