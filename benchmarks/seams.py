"""Whether the seams of longer videos show: `python -m benchmarks.seams --workdir=DIR`.

Where one clip gives way to the next, frames should change no more than elsewhere. A VQ-VAE has
seams of its own, between latent frames; so those count apart, and real videos are measured at the
same places. Held-out clips give the prior its frames, classes and actions. Not in `make bench`,
since a seam can only be judged on a trained model.

Axis letters: n videos; T H W frames, height, width.
"""

import dataclasses
import itertools

import numpy as np
from absl import flags
from etils.epath import Path

from videogpt_jax import cli

_WORKDIR = flags.DEFINE_string('workdir', None, 'A workdir with a trained prior.', required=True)
_NUM = flags.DEFINE_integer('num', 32, 'Videos.', lower_bound=2)
_NUM_FRAMES = flags.DEFINE_integer('num_frames', 128, 'Frames of each.', lower_bound=1)
_TEMPERATURE = flags.DEFINE_float('temperature', 1.0, 'Divides the logits.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the videos.')


def changes(video: np.ndarray) -> np.ndarray:
  """Mean absolute difference of each frame from the one before: [n T H W 3] -> [n T], of 0 none."""
  differences = np.abs(np.diff(video, axis=1, prepend=video[:, :1]))
  return differences.mean(axis=(2, 3, 4))


def places(windows, num_frames: int, latent_step: int) -> dict[str, np.ndarray]:
  """Returns frames by what begins there, int [m] each.

  Args:
    windows: the clips of a video, `sampling.windows.Windows`.
    num_frames: of the video.
    latent_step: frames of a latent frame.
  Returns:
    'a clip': a clip's first frame, or its first that it does not share; 'a latent frame': any other
    latent frame; 'neither': all others. Frames of the first clip alone do not count.
  """
  later = windows.starts[1:]
  clips = {*later, *(start + windows.shared for start in later)}
  frames = np.arange(later[0], num_frames)
  begins_clip = np.isin(frames, list(clips))
  begins_latent = (frames % latent_step == 0) & ~begins_clip
  return {
    'a clip': frames[begins_clip],
    'a latent frame': frames[begins_latent],
    'neither': frames[~begins_clip & ~begins_latent],
  }


def ratio(changes: np.ndarray, ours: np.ndarray, others: np.ndarray) -> tuple[float, float]:
  """Returns how many times as much changes at `ours` as at `others`, and its standard error.

  Args:
    changes: float [n T].
    ours, others: int [m], frames.
  """
  at, elsewhere = changes[:, ours].mean(1), changes[:, others].mean(1)
  value = at.mean() / elsewhere.mean()
  # Of a ratio of means over n videos, to first order (the delta method).
  error = np.std(at - value * elsewhere, ddof=1) / np.sqrt(len(at)) / elsewhere.mean()
  return value, error


def overlap_psnr(model, codes: np.ndarray, shared: int) -> np.ndarray:
  """PSNR in dB of the frames that two clips share, one decoding against the other: float [shared].

  Args:
    model: the VideoGPT.
    codes: int32 [n clips t h w].
    shared: frames.
  """
  clips = [np.asarray(model.videos(codes[:, i])) for i in range(codes.shape[1])]
  errors = [
    np.square(a[:, -shared:] - b[:, :shared]).mean(axis=(0, 2, 3, 4))
    for a, b in itertools.pairwise(clips)
  ]
  return -10 * np.log10(np.mean(errors, axis=0))


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
