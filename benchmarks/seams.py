"""Whether the seams of longer videos show: `python -m benchmarks.seams --workdir=DIR`.

Where one clip gives way to the next, frames should change no more than elsewhere. A VQ-VAE has
seams of its own, between latent frames; so those count apart, and real videos are measured at the
same places. Held-out clips give the prior its frames, classes and actions. Not in `make bench`,
since a seam can only be judged on a trained model.
"""

import dataclasses

from absl import flags
from etils.epath import Path

from benchmarks.frame_changes import changes, overlap_psnr, places, ratio
from videogpt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'A workdir with a trained prior.', required=True)
_NUM = flags.DEFINE_integer('num', 32, 'Videos.', lower_bound=2)
_NUM_FRAMES = flags.DEFINE_integer('num_frames', 128, 'Frames of each.', lower_bound=1)
_TEMPERATURE = flags.DEFINE_float('temperature', 1.0, 'Divides the logits.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the videos.')


def main(argv):
  del argv
  from videogpt_jax import load_videogpt, workdir
  from videogpt_jax.input import pipeline
  from videogpt_jax.sampling import windows
  from videogpt_jax.sampling.request import Request

  path, num, num_frames = Path(_WORKDIR.value), _NUM.value, _NUM_FRAMES.value
  model, dataset = load_videogpt(path), workdir.read_experiment(path).dataset
  config, spec = model.config, model.vqvae.spec
  plan = windows.plan(spec, config.n_cond_frames, num_frames)
  if len(plan.starts) == 1:
    raise ValueError(f'--num_frames ({num_frames}) fits into a clip of {plan.clip}: no seam')
  dataset = dataclasses.replace(dataset, sequence_length=num_frames)
  real = next(iter(pipeline.test_batches(dataset, batch_size=num)))
  request = Request(
    num,
    _SEED.value,
    class_label=real['label'] if config.n_classes else None,
    frames=real['video'][:, : config.n_cond_frames] if config.n_cond_frames else None,
    actions=real['actions'] if config.action_dim else None,
    temperature=_TEMPERATURE.value,
    num_frames=num_frames,
  )
  made = model.generate(request)
  found = places(plan, num_frames, plan.clip // spec.latent_shape[0])
  for name, video in (('generated', made.video), ('real', real['video'])):
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
  if plan.shared:
    found = ' '.join(f'{x:.1f}' for x in overlap_psnr(model, made.codes, plan.shared))
    print(f'two decodings of the frames that clips share, PSNR in dB: {found}')


if __name__ == '__main__':
  cli.start(main)
