"""A table of the paper beside the figures measured here."""

import itertools
from collections.abc import Mapping

from videogpt_jax.evaluation.intervals import Interval, overlap

Figure = float | tuple[float, float]

# Names of the paper's figures in our results, where they differ. The paper's NMSE may as well be
# VideoGPT-Paper's squared error / 0.06, `reconstruction_loss`, which stands beside ours.
_NAMES = {'nmse': 'reconstruction_nmse', 'bits_per_code': 'prior_bits_per_code'}

# Figures that the paper does not give and that need no network weights.
_BESIDES = ('reconstruction_loss', 'reconstruction_psnr', 'codebook_perplexity')


def table(
  paper: Mapping[str, Mapping[str, Figure]], measured: Mapping[str, Mapping[str, float]]
) -> str:
  """Returns a Markdown table, and how many pairs of rows are in the paper's order.

  Args:
    paper: row -> figure -> value, or (mean, standard deviation) over trials.
    measured: row -> score -> value, with the names of evaluation.compare, `_std`, and `_low` and
      `_high` of 95 % intervals. Missing scores are left blank, missing rows left out. Two rows
      whose intervals overlap cannot be told apart.
  """
  rows = {row: figures for row, figures in paper.items() if row in measured}
  figures = list(dict.fromkeys(itertools.chain.from_iterable(rows.values())))
  besides = [x for x in _BESIDES if any(x in scores for scores in measured.values())]
  heads = [f'{figure}, {who}' for figure in figures for who in ('paper', 'here')]
  lines = [_line(['row', *heads, *besides]), _line(['---'] * (1 + len(heads) + len(besides)))]
  for row, published in rows.items():
    ours = measured[row]
    cells = [
      cell
      for figure in figures
      for cell in (_text(published.get(figure)), _text(_score(ours, figure)))
    ]
    lines.append(_line([row, *cells, *(_text(ours.get(name)) for name in besides)]))
  return '\n'.join([*lines, '', *(_order(figure, rows, measured) for figure in figures)])


def _score(scores: Mapping[str, float], figure: str) -> Figure | None:
  name = _NAMES.get(figure, figure)
  if name in scores and f'{name}_std' in scores:
    return scores[name], scores[f'{name}_std']
  return scores.get(name)


def _order(figure: str, paper: Mapping, measured: Mapping) -> str:
  """Returns how many pairs of rows are in the paper's order, and which cannot be told apart."""
  values = {
    row: (_mean(published[figure]), _mean(_score(measured[row], figure)))
    for row, published in paper.items()
    if figure in published and _score(measured[row], figure) is not None
  }
  pairs = [(a, b) for a, b in itertools.combinations(values, 2) if values[a][0] != values[b][0]]
  if not pairs:
    return f'{figure}: {"no two rows to compare" if values else "not measured"}'
  ordered = [
    (values[a][0] < values[b][0]) == (values[a][1] < values[b][1]) and values[a][1] != values[b][1]
    for a, b in pairs
  ]
  text = f'{figure}: {sum(ordered)} of {len(pairs)} pairs of rows compare as in the paper'
  ends = {row: _interval(measured[row], figure) for row in values}
  alike = [f'{a} and {b}' for a, b in pairs if ends[a] and ends[b] and overlap(ends[a], ends[b])]
  return f'{text}; {", ".join(alike)} cannot be told apart' if alike else text


def _interval(scores: Mapping[str, float], figure: str) -> Interval | None:
  name = _NAMES.get(figure, figure)
  if f'{name}_low' not in scores:
    return None
  return scores[f'{name}_low'], scores[f'{name}_high']


def _mean(figure: Figure) -> float:
  return figure[0] if isinstance(figure, tuple) else figure


def _text(figure: Figure | None) -> str:
  if figure is None:
    return ''
  if isinstance(figure, tuple):
    return f'{figure[0]:.4g} ± {figure[1]:.2g}'
  return f'{figure:.4g}'


def _line(cells: list[str]) -> str:
  return f'| {" | ".join(cells)} |'
