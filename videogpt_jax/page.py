"""Parts of a page in HTML that needs nothing from elsewhere: charts, tables, videos.

Texts are escaped here; what these functions return is HTML.
"""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence

from etils.epath import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #6a737d; --line: #d0d7de;
  --first: #0969da; --second: #bc4c00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --soft: #8b949e;
  --line: #30363d; --first: #58a6ff; --second: #f0883e } }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif }
h1, h2, h3, h4 { line-height: 1.2 } h4 { font-size: .9rem; margin: 0 }
p, figcaption, .soft { color: var(--soft) }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)) }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)) }
figure { margin: 0 } figcaption { font-size: .8rem; overflow-wrap: anywhere }
video, img { width: 100%; image-rendering: pixelated; border-radius: 4px }
a, summary { color: var(--first) }
:focus-visible { outline: 3px solid var(--first); outline-offset: 2px }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top } td.number { font-variant-numeric: tabular-nums; white-space: nowrap }
svg { width: 100%; height: auto; overflow: visible } svg text { font-size: 11px; fill: var(--soft) }
.first { stroke: var(--first); color: var(--first) }
.second { stroke: var(--second); color: var(--second) }
polyline { fill: none; stroke-width: 1.5 } circle { stroke-width: 4 } .axis { stroke: var(--line) }
pre { overflow-x: auto; font-size: .8rem }
@media (max-width: 40rem) { thead { position: absolute; left: -9999px }
  table { display: block } tbody { display: block } td { border: 0; padding: 0 }
  tr { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; padding: .4rem 0;
    border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
  td:nth-child(n + 3) { grid-column: 1 / -1; color: var(--soft) } td:nth-child(n + 3):empty {
    display: none } td:nth-child(n + 3)::before { content: attr(data-head) ": " } }
"""

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 320, 160, 48, 20


def page(title: str, sections: Mapping[str, str], refresh: int = 0) -> str:
  """Returns a whole page.

  Args:
    title: of the page.
    sections: HTML by heading; empty ones are left out.
    refresh: seconds after which a browser loads it anew; 0 for never.
  """
  again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ''
  body = ''.join(
    f'<section aria-labelledby="s{i}"><h2 id="s{i}">{text(name)}</h2>{content}</section>'
    for i, (name, content) in enumerate(sections.items())
    if content
  )
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<link rel="icon" href="data:,">{again}<title>{text(title)}</title><style>{STYLE}</style>'
    f'</head><body><main><h1>{text(title)}</h1>{body}</main></body></html>'
  )


def text(value: object) -> str:
  """Returns text as HTML."""
  return html.escape(str(value))


def table(rows: Iterable[Sequence[object]], head: Sequence[str]) -> str:
  """Returns a table; on a phone, its third column and later ones stand below the first two."""

  def cell(name: str, x: object) -> str:
    kind = ' class="number"' if isinstance(x, int | float) else ''
    return f'<td{kind} data-head="{text(name)}">{text(_short(x))}</td>'

  lines = ''.join(f'<tr>{"".join(map(cell, head, row))}</tr>' for row in rows)
  names = ''.join(f'<th scope="col">{text(name)}</th>' for name in head)
  whole = f'<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>'
  return f'<div class="scroll">{whole}</div>'


def details(summary: str, content: str) -> str:
  """Returns content that opens on demand."""
  return f'<details><summary>{text(summary)}</summary>{content}</details>'


def video(file: Path, caption: str, description: str, hint: str = '') -> str:
  """Returns an mp4 that plays by itself, with a caption; `hint` shows under the pointer."""
  return (
    f'<figure><video autoplay loop muted playsinline controls title="{text(hint)}" '
    f'aria-label="{text(description)}" src="{_data("video/mp4", file)}"></video>'
    f'<figcaption>{text(caption)}</figcaption></figure>'
  )


def image(file: Path, caption: str, description: str) -> str:
  """Returns a GIF with a caption."""
  return (
    f'<figure><img alt="{text(description)}" src="{_data("image/gif", file)}">'
    f'<figcaption>{text(caption)}</figcaption></figure>'
  )


def chart(name: str, series: Mapping[str, Sequence[tuple[float, float]]], x: str = 'step') -> str:
  """Returns a line chart of at most two series of (x, y), with its last figures in words.

  Args:
    name: heading.
    series: points by name, each with a colour of its own; one may be empty.
    x: name of the horizontal axis.
  """
  points = [point for line in series.values() for point in line]
  (left, right), (low, high) = ((min(values), max(values)) for values in zip(*points, strict=True))
  wide, tall = right - left or 1, high - low or abs(high) or 1
  place = lambda at: (
    _LEFT + (_WIDTH - _LEFT) * (at[0] - left) / wide,
    (_HEIGHT - _BOTTOM) * (1 - (at[1] - low) / tall) + 6,
  )
  drawn, words = '', []
  for (label, line), style in zip(series.items(), ('first', 'second'), strict=False):
    if not line:
      continue
    places = [place(at) for at in line]
    if places[1:]:
      path = ' '.join(f'{a:.1f},{b:.1f}' for a, b in places)
      drawn += f'<polyline class="{style}" points="{path}"/>'
    a, b = places[-1]
    drawn += f'<circle class="{style}" cx="{a:.1f}" cy="{b:.1f}" r="1"/>'
    words.append((style, f'{label} {_short(line[-1][1])} at {x} {_short(line[-1][0])}'))
  floor = _HEIGHT - _BOTTOM + 6
  frame = f'<path class="axis" fill="none" d="M{_LEFT} 0V{floor}H{_WIDTH}"/>'
  marks = ''.join(
    f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end">{text(_short(value))}</text>'
    for value, y in ((high, 10), (low, floor))
  )
  marks += f'<text x="{_LEFT}" y="{_HEIGHT + 4}">{text(_short(left))}</text>'
  marks += f'<text x="{_WIDTH}" y="{_HEIGHT + 4}" text-anchor="end">{text(_short(right))}</text>'
  told = '; '.join(said for _, said in words)
  key = '; '.join(f'<span class="{style}">●</span> {text(said)}' for style, said in words)
  return (
    f'<figure><h4>{text(name)}</h4><svg viewBox="0 0 {_WIDTH} {_HEIGHT + 8}" role="img" '
    f'aria-label="{text(f"{name}: {told}")}">{frame}{marks}{drawn}</svg>'
    f'<figcaption>{key}</figcaption></figure>'
  )


def _short(value: object) -> str:
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _data(kind: str, file: Path) -> str:
  return f'data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}'
