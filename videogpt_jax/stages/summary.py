"""The closing lines of a run: each file and each figure."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from etils.epath import Path

from videogpt_jax.training.logging import duration, read_metrics

FILES = {
  'report.html': 'all of it on one page: open it in a browser',
  'samples.mp4': 'generated videos in a labelled grid',
  'samples.gif': 'the same',
  'samples': 'each generated video apart; samples.json says how they were drawn',
  'reconstructions.gif': 'held-out clips, each original above its reconstruction',
  'nearest.gif': 'samples, each above the training clips nearest to it',
  'evaluation.json': 'the scores of samples, with all that they depend on',
  'metrics.json': 'the figures below',
  'config.json': 'the configuration, as resolved',
  'tensorboard': 'events: tensorboard --logdir on this folder',
  'vqvae/checkpoints': 'the trained VQ-VAE',
  'vqvae/best': 'the one with the lowest held-out loss, which is used',
  'prior/checkpoints': 'the trained prior',
  'prior/best': 'the one with the lowest held-out loss, which is used',
}

UNITS = {
  'reconstruction_loss': "held-out clips' squared error / 0.06, the published loss",
  'reconstruction_psnr': 'dB, of held-out clips',
  'reconstruction_ssim': 'structural similarity, of held-out clips',
  'reconstruction_nmse': "held-out clips' squared error / the variance of their pixels",
  'reconstruction_sharpness': "reconstructions' mean gradient / that of held-out clips",
  'codebook_perplexity': 'codes, effectively used by held-out clips',
  'codebook_usage': 'of the codes occur in held-out clips',
  'codebook_usage_possible': 'of the codes, what as many latents could reach',
  'prior_bits_per_code': "bits a code of held-out clips, the prior's cross-entropy",
  'prior_nats_per_code': 'nats a code, the same',
  'prior_bits_per_pixel_dim': "bits of codes a pixel and colour, without the decoder's error",
  'unigram_bits_per_code': 'bits a code, what their frequencies alone could reach',
  'vqvae_goodput': "of the VQ-VAE's training time went into steps that count",
  'prior_goodput': "of the prior's training time went into steps that count",
  'fvd': 'samples against held-out clips, I3D logits',
  'fvd_star': 'samples against reconstructions: the part of the prior',
  'r_fvd': 'reconstructions against held-out clips: the part of the VQ-VAE',
  'fvd_floor': 'held-out clips against others, as many',
  'fvd_floor_std': 'its standard deviation over choices of clips',
  'fvd_infinity': 'FVD, extrapolated to endless clips',
  'kvd': 'FVD with a polynomial kernel, which needs no Gaussians',
  'kvd_star': 'FVD* likewise',
  'r_kvd': 'R-FVD likewise',
  'precision': 'of the samples lie among real clips',
  'recall': 'of the real clips lie among samples',
  'density': 'real neighbourhoods of a sample, of 5',
  'coverage': 'of the real clips have a sample near',
  'class_accuracy': 'of the samples show their class, by a classifier',
  'class_accuracy_real': 'of the held-out clips show theirs, by the same',
  'rollout_fvd': 'frames played on with against how recordings go on, I3D logits',
  'rollout_r_fvd': 'reconstructions of how they go on: the part of the VQ-VAE',
  'action_accuracy': 'of the actions are read from generated frames, by a classifier',
  'action_accuracy_real': 'of the actions are read from held-out frames, by the same',
  'action_fidelity': 'the ratio of the two',
  'frames_per_second': 'when played, one rollout, compiling left out',
  'nearest_training_samples': 'from the nearest training clip, RMS of pixels in [0, 1]',
  'nearest_training_held_out': 'the same, of held-out clips',
  'fvd_seconds': 'seconds for all scores of samples',
  'sample_seconds_per_clip': 'seconds a generated video, compiling left out',
}


HORIZON = re.compile(
  '(?P<score>psnr|ssim)(?P<gain>_gain)?_at_(?P<frame>[0-9]+)'
  '(?P<baseline>_copied|_shuffled)?(?P<of>_.+)?'
)
"""Names of the scores of frames that are played on."""

BASELINES = {
  '_copied': 'the last given frame, reconstructed',
  '_shuffled': "the model under another recording's actions",
}


def meaning(name: str) -> str:
  """Returns what a figure says, and in which unit; '' if it is unknown."""
  if not (found := HORIZON.fullmatch(name)):
    return UNITS.get(name, '')
  baseline = BASELINES.get(found['baseline'], 'the model')
  who = f'the model above {baseline}' if found['gain'] else baseline
  unit = 'dB' if found['score'] == 'psnr' else 'structural similarity'
  of = f', recordings of {found["of"][1:]}' if found['of'] else ''
  return f'{unit}, frame {found["frame"]} ahead: {who}{of}'


class Figure(NamedTuple):
  """A figure of a run.

  Attributes:
    interval: its ends, 95 %; None where there is none.
  """

  name: str
  value: float
  interval: tuple[float, float] | None

  def spread(self) -> str:
    """Returns the interval as text, '' without one that is finite."""
    finite = self.interval and all(map(math.isfinite, self.interval))
    return '{:.4g} to {:.4g}'.format(*self.interval) if finite else ''

  def is_score(self) -> bool:
    """Whether it is about the models: not about time."""
    return not self.name.endswith(('_goodput', '_seconds', '_seconds_per_clip'))


def figures(metrics: Mapping[str, float]) -> list[Figure]:
  """Returns figures by name, those that are ends of an interval with what they belong to."""
  ends = {name: (f'{name}_low', f'{name}_high') for name in metrics}
  ends = {name: pair for name, pair in ends.items() if metrics.keys() >= set(pair)}
  names = metrics.keys() - {end for pair in ends.values() for end in pair}
  interval = lambda name: tuple(metrics[end] for end in ends[name]) if name in ends else None
  return [Figure(name, metrics[name], interval(name)) for name in sorted(names)]


def summary(path: Path, seconds: float) -> str:
  """Returns the closing lines: each file and each figure."""
  lines = [f'Done in {duration(seconds)}. In {path}:']
  lines += [f'  {file:22s} {text}' for file, text in FILES.items() if (path / file).exists()]
  lines += ['Figures:']
  for figure in figures(read_metrics(path)):
    interval = f'95 %: {spread}' if (spread := figure.spread()) else ''
    lines.append(
      f'  {figure.name:24s} {figure.value:10.4f}  {interval:26s}  {meaning(figure.name)}'
    )
  return '\n'.join(lines)
