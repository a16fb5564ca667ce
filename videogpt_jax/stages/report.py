"""report.html: what a run has made and measured so far, on one page without outside requests."""

import json
from collections.abc import Iterator

import numpy as np
from etils.epath import Path

from videogpt_jax import drift, files, page, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json
from videogpt_jax.stages.summary import figures, meaning
from videogpt_jax.training.history import History
from videogpt_jax.training.logging import duration, read_metrics, read_times, say

FILE = 'report.html'

CODES = 'codebook.json'
"""Shares of the codes among held-out latents, a list a codebook, the most frequent first."""

STAGES = 'stages.json'
"""Seconds and devices of the stages that train nothing, by name."""

REFRESH = 60
"""Seconds after which a browser loads the page anew, while the run goes on."""

_MOST_POINTS = 512

_CHARTS = ('loss', 'bits_per_code', 'psnr', 'perplexity', 'usage', 'steps_per_second', 'rate')


def write(path: Path, ended: bool = False):
  """Writes the report of a workdir; a file that cannot be read leaves it as it is, with a warning.

  Args:
    path: the workdir.
    ended: whether the run has ended, so that the page need not be loaded anew.
  """
  try:
    files.replace(path / FILE, html(path, 0 if ended else REFRESH))
  except (UserError, OSError) as error:
    say(f'warning: no {FILE}: {error}')
  except (LookupError, TypeError, ValueError, AttributeError) as error:  # JSON of another kind
    say(f'warning: no {FILE}: a file of {path} is broken ({type(error).__name__}: {error})')


def write_codes(path: Path, counts: np.ndarray):
  """Writes down how often each code occurs, float [G K]; of many codes, means of neighbours."""
  shares = -np.sort(-counts / counts.sum(axis=1, keepdims=True), axis=1)
  pieces = [np.array_split(row, min(len(row), _MOST_POINTS)) for row in shares]
  write_json(path / CODES, [[float(x.mean()) for x in row] for row in pieces])


def html(path: Path, refresh: int = 0) -> str:
  """Returns the report of a workdir, a whole page; see `page.page`.

  Raises:
    UserError: it is no workdir, or a file cannot be read; LookupError, TypeError, ValueError or
      AttributeError: a file holds something else than it should.
  """
  experiment, metrics = workdir.read_experiment(path), read_metrics(path)
  sections = {
    'Generated videos': _samples(path),
    'Originals and reconstructions': _pictures(path),
    'Scores': _scores(path, metrics),
    'Training': ''.join(_training(path, stage) for stage in workdir.TRAINED),
    'Use of the codebook': _codebook(path, metrics),
    'Time and hardware': _times(path),
    'Configuration': _configuration(experiment),
  }
  return page.page(f'{experiment.name}: what the run made', sections, refresh)


def _samples(path: Path) -> str:
  drawn = read_json(path / 'samples.json', {})
  videos = []
  for i, video in enumerate(drawn.get('videos', [])):
    file = path / 'samples' / f'{i:04d}.mp4'  # whatever else samples.json may name
    if file.exists():
      label = video.get('label')
      name = f'{i}' if label is None else f'{i}: {label}'
      nats = f'log likelihood {video["log_likelihood_nats"]:.0f} nats'
      hint = f'seed {drawn["seed"]}, video {i}; {nats}'
      hint += '' if label is None else f'; class {label}'
      videos.append(page.video(file, f'{name}, {nats}', f'generated video {name}', hint))
  if not videos:
    return ''
  return f'<p>Seed {page.text(drawn["seed"])}.</p><div class="grid">{"".join(videos)}</div>'


def _pictures(path: Path) -> str:
  told = {
    'reconstructions.gif': 'Held-out clips above their reconstructions.',
    'previews.gif': 'Videos drawn at the latest evaluation of the prior.',
    'nearest.gif': 'Samples above the training clips nearest to them.',
  }
  there = {name: text for name, text in told.items() if (path / name).exists()}
  return ''.join(page.image(path / name, text, text) for name, text in there.items())


def _scores(path: Path, metrics: dict[str, float]) -> str:
  scores = [figure for figure in figures(metrics) if figure.is_score()]
  if not scores:
    return ''
  found = read_json(path / 'evaluation.json', {})
  note = ''
  if protocol := found.get('protocol'):
    clips = protocol['n_clips'] or 'all'
    note = f'Protocol {protocol["name"]}: {clips} clips, seed {found["seed"]}.'
    now = workdir.in_use(path)
    if found.get('in_use', now) != now:
      scored = '; '.join(found['in_use'])
      note += f' It scored other weights than those in use now ({scored}): evaluate again.'
    note = f'<p>{page.text(note)}</p>'
  rows = [(x.name, x.value, x.spread(), meaning(x.name)) for x in scores]
  return note + page.table(rows, ('score', 'value', '95 % interval', 'meaning'))


def _training(path: Path, stage: str) -> str:
  history = History(path / stage)
  series = history.series()
  if not series:
    return ''
  sides = {'train': 'training', 'test': 'held out'}
  charts = {name.partition('/')[2]: {} for name in series if name.split('/')[0] in sides}
  for figure, chart in charts.items():
    for side, label in sides.items():
      chart[label] = series.get(f'{side}/{figure}', [])
  rank = lambda name: next((i for i, part in enumerate(_CHARTS) if part in name), len(_CHARTS))
  names = sorted(charts, key=rank)
  known = [name for name in names if rank(name) < len(_CHARTS)]
  rest = names[len(known) :]
  draw = lambda names: ''.join(page.chart(name, charts[name]) for name in names)
  content = f'<h3>{page.text(stage)}</h3>'
  content += f'<div class="charts">{draw(known)}</div>'
  if rest:
    content += page.details('more figures', f'<div class="charts">{draw(rest)}</div>')
  return content


def write_stage(path: Path, stage: str, seconds: float, devices: str):
  """Writes down how long a stage took that trains nothing, and on which devices."""
  told = {'seconds': seconds, 'devices': devices}
  write_json(path / STAGES, read_json(path / STAGES, {}) | {stage: told})


def _times(path: Path) -> str:
  rows = [*_training_times(path)]
  for stage, told in read_json(path / STAGES, {}).items():
    rows.append((stage, duration(told['seconds']), told['devices'], ''))
  return page.table(rows, ('stage', 'time', 'devices', 'spent on')) if rows else ''


def _training_times(path: Path) -> Iterator[tuple[str, ...]]:
  for stage in workdir.TRAINED:
    history = History(path / stage)
    if not history.rows:
      continue
    _, seconds = read_times(path / stage / 'times.json')
    total = sum(seconds.values())
    shares = ', '.join(f'{part} {n / total:.0%}' for part, n in seconds.items()) if total else ''
    steps = f'{history.rows[-1][0]} steps'
    time = f'{steps}, {duration(total)}' if total else steps
    yield stage, time, history.devices or 'unknown', shares


def _codebook(path: Path, metrics: dict[str, float]) -> str:
  drawn = []
  for i, shares in enumerate(read_json(path / CODES, [])):
    points = [(rank, share) for rank, share in enumerate(shares)]
    if points:
      name = f'codebook {i}' if i else 'share of held-out latents, most frequent code first'
      drawn.append(page.chart(name, {'share': points}, 'code'))
  if not drawn:
    return ''
  names = [name for name in ('codebook_usage', 'codebook_perplexity') if name in metrics]
  used = ', '.join(f'{name} {metrics[name]:.4g}' for name in names)
  return f'<p>{page.text(used)}</p><div class="charts">{"".join(drawn)}</div>'


def _configuration(experiment: Experiment) -> str:
  changes = list(drift.changes(Experiment(), experiment))
  rows = [(change.key, repr(change.new), repr(change.old)) for change in changes]
  whole = json.dumps(experiment.to_config_dict().to_dict(), indent=2, default=str)
  return page.table(rows, ('key', 'value', 'default')) + page.details(
    'all keys', f'<pre>{page.text(whole)}</pre>'
  )
