"""Everything that can be said of a set of samples, with what it takes to say it again."""

import dataclasses
import json
import pathlib
import subprocess
from typing import Any

import jax

from videogpt_jax.evaluation import networks as nets
from videogpt_jax.evaluation import protocols, scoring
from videogpt_jax.evaluation.clips import ClipConfig, Clips

# What a user must give for scores that are missing.
_HOW_TO_GET = {
  'i3d': ('fvd, kvd', "--fvd_weights=FILE, I3D's weights"),
  'c3d': ('inception_score', '--is_weights=FILE,MEAN, C3D on UCF-101 and its mean clip'),
  'lpips': ('lpips', '--lpips_weights=BACKBONE,LINEAR'),
}


@dataclasses.dataclass(frozen=True)
class ClipSets:
  """What is compared.

  Attributes:
    samples: generated clips.
    reference: real clips.
    reconstructions: the tokenizer's view of each reference clip, for FVD*, R-FVD and frame-wise
      scores.
    paired: whether sample i belongs to reference i.
    config: how the clips were cut; recorded only.
  """

  samples: Clips
  reference: Clips
  reconstructions: Clips | None = None
  paired: bool = False
  config: ClipConfig = dataclasses.field(default_factory=ClipConfig)


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
  drawn = protocols.draw(protocol, len(sets.samples), len(sets.reference), seed)
  size = _common_size(sets)
  samples = scoring.set_statistics(sets.samples, drawn.samples, networks, batch_size)
  reference = scoring.set_statistics(sets.reference, drawn.reference, networks, batch_size)
  scores = scoring.distances(samples, reference) | scoring.inception_scores(samples)
  if sets.reconstructions is not None:
    real = sets.reconstructions, sets.reference
    paired = scoring.paired_scores(*real, networks, batch_size)  # refuses unequal numbers
    scores |= {f'reconstruction_{name}': x for name, x in paired.items()}
    reconstructed = scoring.set_statistics(
      sets.reconstructions, drawn.reference, networks, batch_size
    )
    scores |= scoring.distances(samples, reconstructed, '{}_star')
    scores |= scoring.distances(reconstructed, reference, 'r_{}')
  if sets.paired:
    scores |= scoring.paired_scores(sets.samples, sets.reference, networks, batch_size)
  return {
    'scores': scores,
    'missing': _missing(networks, sets),
    'warnings': _warnings(sets, protocol),
    'protocol': dataclasses.asdict(protocol),
    'seed': seed,
    'sets': {name: _describe(clips) for name, clips in _sets(sets).items()},
    'clip': _describe_cut(sets.config) | {'size_t_h_w_c': size},
    'i3d_input': nets.I3D_INPUT,
    'weights': nets.describe_files(networks),
    'code_version': code_version(),
    'jax_version': jax.__version__,
    'device': jax.devices()[0].device_kind,
  }


def write(result: dict[str, Any], path: pathlib.Path) -> None:
  """Writes a result as JSON; what JSON has no number for (infinity) becomes a string."""
  scores = {name: x if abs(x) < float('inf') else str(x) for name, x in result['scores'].items()}
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(result | {'scores': scores}, indent=2) + '\n')


def report(result: dict[str, Any]) -> str:
  """A result as lines for people."""
  scores = result['scores']
  lines = [f'{name:24} {x:.6g}' for name, x in scores.items() if not name.endswith('_std')]
  for i, line in enumerate(lines):
    deviation = scores.get(f'{line.split()[0]}_std')
    lines[i] = line if deviation is None else f'{line} +- {deviation:.3g}'
  protocol = result['protocol']
  n_clips = protocol['n_clips'] or 'all'
  lines.append(
    f'protocol {protocol["name"]}: {n_clips} clips, {protocol["n_trials"]} trial(s), '
    f'clips of {"x".join(map(str, result["clip"]["size_t_h_w_c"]))}, seed {result["seed"]}'
  )
  lines += [f'missing {names}: give {how}' for names, how in result['missing'].items()]
  lines += [f'warning: {text}' for text in result['warnings']]
  return '\n'.join(lines)


def code_version() -> str:
  """The commit of this code, with `-dirty` where files differ from it; 'unknown' outside git."""
  folder = pathlib.Path(__file__).parents[2]
  if not (folder / '.git').exists():
    return 'unknown'
  command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40']
  try:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


def _sets(sets: ClipSets) -> dict[str, Clips]:
  named = {
    'samples': sets.samples,
    'reference': sets.reference,
    'reconstructions': sets.reconstructions,
  }
  return {name: clips for name, clips in named.items() if clips is not None}


def _describe(clips: Clips) -> dict[str, Any]:
  return {'origin': clips.origin, 'n_clips': len(clips), 'lossy': clips.lossy}


def _describe_cut(config: ClipConfig) -> dict[str, Any]:
  return dataclasses.asdict(config) | {'float_range': list(config.float_range)}


def _common_size(sets: ClipSets) -> list[int]:
  first = sets.samples.read([0])
  for clips in _sets(sets).values():
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
  for name, clips in _sets(sets).items():
    if clips.lossy:
      warnings.append(
        f'the {name} set has lossy files ({clips.lossy}): its scores compare only with others of '
        'the same compression; raw frames (.npy, .png) are what the literature scores'
      )
  counts = {name: len(clips) for name, clips in _sets(sets).items()}
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
