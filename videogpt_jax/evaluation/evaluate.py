"""Everything that can be said of a set of samples, with what it takes to say it again."""

import dataclasses
from typing import Any

import jax

from videogpt_jax.evaluation import networks as nets
from videogpt_jax.evaluation import protocols, report, scoring
from videogpt_jax.evaluation.clips import ClipConfig, Clips

# What a user must give for scores that are missing.
_HOW_TO_GET = {
  'i3d': ('fvd, kvd', "--fvd_weights=FILE, I3D's weights"),
  'c3d': ('inception_score', '--is_weights=FILE,MEAN, C3D on UCF-101 and its mean clip'),
  'lpips': ('lpips', '--lpips_weights=BACKBONE,LINEAR'),
}

_NOTHING = (
  'nothing was scored: there are no weights of a network, and the sets are not --paired; clips '
  'were only read'
)


@dataclasses.dataclass(frozen=True)
class ClipSets:
  """What is compared.

  Attributes:
    reference: real clips.
    samples: generated clips.
    reconstructions: the tokenizer's view of each reference clip, for FVD*, R-FVD and frame-wise
      scores.
    paired: whether sample i belongs to reference i.
    config: how the clips were cut; recorded only.
  """

  reference: Clips
  samples: Clips | None = None
  reconstructions: Clips | None = None
  paired: bool = False
  config: ClipConfig = dataclasses.field(default_factory=ClipConfig)

  def __post_init__(self):
    if self.samples is None and (self.reconstructions is None or self.paired):
      raise ValueError(
        'there must be samples, or reconstructions and no pairs, to score; give some'
      )

  def named(self) -> dict[str, Clips]:
    """The sets that there are, by name."""
    names = ('samples', 'reference', 'reconstructions')
    return {name: clips for name in names if (clips := getattr(self, name)) is not None}


def evaluate(
  sets: ClipSets,
  protocol: protocols.Protocol,
  networks: nets.Networks,
  *,
  seed: int = 0,
  batch_size: int = 16,
) -> dict[str, Any]:
  """Scores sets of clips.

  Args:
    sets: what to compare.
    protocol: how many clips a trial takes, and how many trials there are.
    networks: what to score with.
    seed: of the choice of real clips.
    batch_size: clips at a time.
  Returns:
    a record that JSON can hold. `scores`: `fvd`, `kvd` (samples against reference), `fvd_star`
    (against reconstructions), `r_fvd` (reconstructions against reference), `inception_score`, each
    with its `_std` over trials; the scores of scoring.paired_scores, those of reconstructions under
    `reconstruction_`. `missing`: scores that could not be computed -> how to get them. `warnings`;
    and everything the scores depend on.
  Raises:
    ValueError: too few clips, sizes that differ, or a clip that cannot be scored.
  """
  size = _common_size(sets)
  scores = _scores(sets, protocol, networks, seed, batch_size)
  return {
    'scores': scores,
    'missing': _missing(networks, sets),
    'warnings': _warnings(sets, protocol) + ([] if scores else [_NOTHING]),
    'protocol': dataclasses.asdict(protocol),
    'seed': seed,
    'sets': {name: _describe(clips) for name, clips in sets.named().items()},
    'clip': _describe_cut(sets.config) | {'size_t_h_w_c': size},
    'i3d_input': nets.I3D_INPUT,
    'weights': nets.describe_files(networks),
    'code_version': report.code_version(),
    'jax_version': jax.__version__,
    'device': jax.devices()[0].device_kind,
  }


def _scores(
  sets: ClipSets,
  protocol: protocols.Protocol,
  networks: nets.Networks,
  seed: int,
  batch_size: int,
) -> dict[str, float]:
  if sets.samples is None and networks.i3d is None:  # a protocol is of samples and of distances
    protocol = protocols.PROTOCOLS['all']
  n_trial_clips = protocol.n_clips * protocol.n_trials or len(sets.reference)
  n_samples = n_trial_clips if sets.samples is None else len(sets.samples)
  n_reference, compared = len(sets.reference), networks.compare_sets
  drawn = protocols.draw(protocol, n_samples, n_reference, seed, compared)
  real = dataclasses.replace(networks, c3d=None)  # its score is of samples alone
  statistics = lambda clips, trials: scoring.set_statistics(clips, trials, real, batch_size)
  scores, reference = {}, statistics(sets.reference, drawn.reference)
  if sets.samples is not None:
    samples = scoring.set_statistics(sets.samples, drawn.samples, networks, batch_size)
    scores |= scoring.distances(samples, reference) | scoring.inception_scores(samples)
  if sets.paired:
    scores |= scoring.paired_scores(sets.samples, sets.reference, networks, batch_size)
  if sets.reconstructions is not None:
    both = sets.reconstructions, sets.reference
    paired = scoring.paired_scores(*both, networks, batch_size)  # refuses unequal numbers
    scores |= {f'reconstruction_{name}': x for name, x in paired.items()}
    reconstructed = statistics(sets.reconstructions, drawn.reference)
    scores |= scoring.distances(reconstructed, reference, 'r_{}')
    if sets.samples is not None:
      scores |= scoring.distances(samples, reconstructed, '{}_star')
  return scores


def _describe(clips: Clips) -> dict[str, Any]:
  return {'origin': clips.origin, 'n_clips': len(clips), 'lossy': clips.lossy}


def _describe_cut(config: ClipConfig) -> dict[str, Any]:
  return dataclasses.asdict(config) | {'float_range': list(config.float_range)}


def _common_size(sets: ClipSets) -> list[int]:
  first = next(iter(sets.named().values())).read([0])
  for clips in sets.named().values():
    scoring.check_sizes(first, clips.read([0]))
  return list(first.shape[1:])


def _missing(networks: nets.Networks, sets: ClipSets) -> dict[str, str]:
  framewise = sets.paired or sets.reconstructions is not None
  wanted = ('i3d', 'c3d', *(['lpips'] if framewise else []))
  absent = [name for name in wanted if getattr(networks, name) is None]
  return {
    _HOW_TO_GET[name][0]: f'{_HOW_TO_GET[name][1]} (docs/evaluation.md says where they are)'
    for name in absent
  }


def _warnings(sets: ClipSets, protocol: protocols.Protocol) -> list[str]:
  warnings = []
  for name, clips in sets.named().items():
    if clips.lossy:
      warnings.append(
        f'the {name} set has lossy files ({clips.lossy}): its scores compare only with others of '
        'the same compression; raw frames (.npy, .png) are what the literature scores'
      )
  counts = {name: len(clips) for name, clips in sets.named().items()}
  if not protocol.n_clips and len(set(counts.values())) > 1:
    warnings.append(
      f'the sets differ in number ({counts}): Frechet distances depend on it, so compare only with '
      'scores of the same numbers'
    )
  published = protocols.PROTOCOLS.get(protocol.name)
  if protocol != published:
    warnings.append(
      f'{protocol.n_trials} trial(s) of {protocol.n_clips} clips is not what the name '
      f'{protocol.name} stands for'
    )
  return warnings
