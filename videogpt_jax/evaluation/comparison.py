"""A table of the paper beside what was measured here."""

import itertools
from collections.abc import Mapping

Figure = float | tuple[float, float]

# A figure's name in the paper's tables, where a result calls it otherwise.
_NAMES = {'nmse': 'reconstruction_nmse', 'bits_per_code': 'prior_bits_per_code'}

# What the paper does not give, and what says something without anybody's weights.
_BESIDES = ('reconstruction_psnr', 'codebook_perplexity')


def table(
  paper: Mapping[str, Mapping[str, Figure]], measured: Mapping[str, Mapping[str, float]]
) -> str:
  """Returns a Markdown table, and how many pairs of rows come in the paper's order.

  Args:
    paper: row -> figure -> value, or (mean, standard deviation) over trials.
    measured: row -> score -> value, as evaluation.evaluate names them; what is missing is left
      blank. Rows of the paper that are not in it are left out.
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
  """How often two rows compare as they do in the paper."""
  values = [
    (_mean(published[figure]), _mean(_score(measured[row], figure)))
    for row, published in paper.items()
    if figure in published and _score(measured[row], figure) is not None
  ]
  pairs = [(a, b) for a, b in itertools.combinations(values, 2) if a[0] != b[0]]
  if not pairs:
    return f'{figure}: {"no two rows to compare" if values else "not measured"}'
  agree = sum((a[0] < b[0]) == (a[1] < b[1]) and a[1] != b[1] for a, b in pairs)
  return f'{figure}: {agree} of {len(pairs)} pairs of rows compare as in the paper'


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
