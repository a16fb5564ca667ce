"""The scores of sets of clips, kind by kind: features and their distances, figures of pairs."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import features, protocols, sample_size, scoring
from videogpt_jax.evaluation import networks as nets
from videogpt_jax.evaluation.clip_sets import ClipConfig, Clips
from videogpt_jax.evaluation.feature_networks import FeatureNetwork
from videogpt_jax.evaluation.features import StoredSet
from videogpt_jax.evaluation.manifold import K_DENSITY, manifold_scores
from videogpt_jax.evaluation.scoring import Estimate, Estimates, Trials


@dataclasses.dataclass(frozen=True)
class ClipSets:
  """The sets to compare.

  Attributes:
    reference: real clips, or their features alone.
    samples: generated clips.
    reconstructions: the tokenizer's reconstruction of each reference clip, for FVD*, R-FVD and
      frame-wise scores.
    others: more real clips, for the floor of FVD.
    paired: whether sample i belongs to reference i.
    conditional: whether samples have the conditions of the real clips that they are compared with.
    classes: int [N] that each sample should show; None without.
    n_given: first frames of a sample that it was given; figures of pairs of samples and real clips
      leave them out.
    config: how the clips were cut; only recorded.
  """

  reference: Clips | StoredSet
  samples: Clips | None = None
  reconstructions: Clips | None = None
  others: Clips | None = None
  paired: bool = False
  conditional: bool = False
  classes: np.ndarray | None = None
  n_given: int = 0
  config: ClipConfig = dataclasses.field(default_factory=ClipConfig)

  def __post_init__(self):
    if self.samples is None and (self.reconstructions is None or self.paired):
      raise UserError('there must be samples, or reconstructions and no pairs, to score; give some')
    if isinstance(self.reference, StoredSet) and (self.paired or self.reconstructions):
      raise UserError(
        f'{self.reference.origin} holds features without clips; give --reference the clips for '
        '--paired or --reconstructions'
      )

  def named(self) -> dict[str, Clips | StoredSet]:
    """Returns the sets that are given, by name."""
    names = ('samples', 'reference', 'reconstructions')
    return {name: clips for name in names if (clips := getattr(self, name)) is not None}


def features_of_sets(
  sets: ClipSets,
  drawn: protocols.Draw,
  networks: nets.Networks,
  batch_size: int,
  save_reference: pathlib.Path | None,
) -> dict[str, Trials]:
  """Returns the features of each set; `others`, of further real clips; `c3d`, logits of samples.

  All clips are read, if only to find broken ones.
  """
  network, found = networks.features, {}
  for name, clips in sets.named().items():
    trials = drawn.samples if name == 'samples' else drawn.reference
    if name == 'reference' and network is not None:
      wanted = np.concatenate([trials.reshape(-1), drawn.others])
      real = features.of_reference(clips, wanted, network, batch_size)
      if save_reference is not None:
        features.save(real, save_reference)
      found[name] = Trials(real.features, trials)
      found['others'] = Trials(real.features, drawn.others[None])
    elif not isinstance(clips, StoredSet):
      named = {name: network, 'c3d': networks.c3d if name == 'samples' else None}
      wanted = {key: f for key, f in named.items() if f is not None}
      extracted = features.extract(clips, trials, wanted, batch_size)
      found |= {key: Trials(x, trials) for key, x in extracted.items()}
  n = drawn.reference.shape[1]
  if network is not None and sets.others is not None and len(found['others']) < n:
    every = np.arange(min(len(sets.others), n))
    others = features.of_reference(sets.others, every, network, batch_size)
    found['others'] = Trials(others.features, every[None])
  for name in found.keys() - {'c3d', 'reference'} if network is not None else ():
    features.check_widths(found['reference'].values, found[name].values, f'the set {name}')
  return found


def distances(
  found: Mapping[str, Trials], network: FeatureNetwork | None, conditional: bool = False
) -> tuple[Estimates, dict[str, Any] | None]:
  """Returns the scores of features, and FVD against the number of clips.

  Args:
    found: by name, see features_of_sets.
    network: that they are of.
    conditional: see ClipSets.
  """
  if network is None:
    return {}, None
  scores, curve = {}, None
  name = network.score_name
  samples, real = found.get('samples'), found['reference']
  against = [('{}', samples, real, conditional)]
  if 'reconstructions' in found:
    seen = found['reconstructions']
    against += [('r_{}', seen, real, True), ('{}_star', samples, seen, conditional)]
  for template, a, b, paired in against:
    if a is not None:
      scores[name(template, 'fvd')] = scoring.fvd(a, b, paired)
      scores[name(template, 'kvd')] = scoring.kvd(a, b, paired)
  (other,), first = found['others'], next(iter(real))
  if len(other) >= len(first):
    floor = sample_size.floor(np.concatenate([first, other]), len(first))
    scores[name('{}_floor', 'fvd')] = Estimate(float(np.mean(floor)), float(np.std(floor)))
  if samples is not None:
    made, fvd = next(iter(samples)), scores[name('{}', 'fvd')]
    found_curve = sample_size.curve(made, first, conditional)
    curve = found_curve._asdict() | {'n_features': made.shape[1]}
    if len(samples.members) == 1 and not too_few(curve):  # the spread is that of the distance
      shift = found_curve.limit - fvd.value
      # Neither is cut off at 0, below which noise takes the limit of sets that are alike.
      limit = tuple(x + shift for x in fvd.interval)
      scores[name('{}_infinity', 'fvd')] = Estimate(found_curve.limit, None, limit)
    if min(len(made), len(first)) > K_DENSITY:
      figures = [manifold_scores(x, y) for x, y in zip(samples, real, strict=True)]
      for kind in figures[0]:
        values = [figure[kind] for figure in figures]
        deviation = float(np.std(values)) if len(values) > 1 else None
        scores[name('{}', kind)] = Estimate(float(np.mean(values)), deviation)
  return scores, curve


def too_few(curve: Mapping[str, Any]) -> bool:
  """Returns whether a curve has fewer clips than features: its limit is then far too high."""
  return curve['n_clips'][-1] < curve['n_features']


def pairs_of_clips(
  sets: ClipSets,
  drawn: protocols.Draw,
  protocol: protocols.Protocol,
  networks: nets.Networks,
  batch_size: int,
) -> Estimates:
  """Returns the figures of clips that belong together."""
  scores, lpips = {}, networks.lpips
  if sets.paired:
    pairs = scoring.frame_scores(
      sets.samples, sets.reference, lpips, first_frame=sets.n_given, batch_size=batch_size
    )
    scores |= pairs.estimates()
  if sets.reconstructions is not None:
    both = sets.reconstructions, sets.reference
    pairs = scoring.frame_scores(*both, lpips, batch_size=batch_size)
    scores |= {f'reconstruction_{name}': x for name, x in pairs.estimates().items()}
  if sets.samples is not None and protocol.samples_per_clip > 1:
    if isinstance(sets.reference, StoredSet):
      raise UserError(f'protocol {protocol.name} needs the real clips, not features alone')
    pairs = scoring.frame_scores(
      sets.samples,
      sets.reference,
      lpips,
      pairs=(drawn.samples.reshape(-1), drawn.conditions.reshape(-1)),
      first_frame=sets.n_given,
      batch_size=batch_size,
    )
    scores |= scoring.best_of(pairs, protocol.samples_per_clip)
  return scores
