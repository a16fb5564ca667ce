"""The report of a run: a JSON file and a Markdown one, both whole after every row."""

import dataclasses
import datetime
import json
import math
import os
from pathlib import Path
from typing import Any

BESIDES = ('name', 'left_out', 'fault', 'traceback')
"""Keys of a row that are no columns of figures."""


@dataclasses.dataclass
class Report:
  """What a run has found so far.

  Attributes:
    folder: of the files `gpu.json` and `gpu.md`.
    command: that began it.
    machine: see `machine.describe`; None until a part has told.
    parts: by name: status ('running', 'done', 'failed'), about, seconds, rows, error.
  """

  folder: Path
  command: str
  machine: dict[str, Any] | None = None
  parts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  begun: str = dataclasses.field(
    default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  )

  def begin(self, part: str):
    """Adds a part that runs now."""
    self.parts[part] = {'status': 'running', 'about': '', 'seconds': None, 'rows': []}

  def end(self, part: str, seconds: float):
    """Settles a part: it has failed if it broke off or one of its rows has a fault."""
    entry = self.parts[part]
    faults = sum('fault' in row for row in entry['rows'])
    entry['status'] = 'failed' if faults or entry.get('error') else 'done'
    entry['seconds'] = round(seconds, 1)

  @property
  def failed(self) -> list[str]:
    """Names of the parts that have failed."""
    return [name for name, part in self.parts.items() if part['status'] == 'failed']

  def write(self):
    """Replaces both files; a reader never meets half of one."""
    content = {'command': self.command, 'begun': self.begun, 'machine': self.machine}
    content |= {'parts': self.parts}
    _replace(self.folder / 'gpu.json', json.dumps(_finite(content), indent=1, allow_nan=False))
    _replace(self.folder / 'gpu.md', self.markdown())

  def markdown(self) -> str:
    """Returns a table for each part, then what was left out and what failed."""
    machine = self.machine or {}
    versions = ', '.join(f'{k} {v}' for k, v in machine.get('packages', {}).items())
    lines = [f'# {machine.get("device")}', '', f'`{self.command}`, {self.begun}; {versions}.']
    for name, part in self.parts.items():
      took = '' if part['seconds'] is None else f', {part["seconds"]} s'
      lines += ['', f'## {name}: {part["status"]}{took}', '', part['about'].strip(), '']
      lines += _table([row for row in part['rows'] if set(row) - set(BESIDES)])
      told = [line(row) for row in part['rows'] if 'left_out' in row or 'fault' in row]
      lines += ['', *(f'- {text}' for text in told)] if told else []
      if part.get('error'):
        lines += ['', '```', part['error'].strip(), '```']
    return '\n'.join(lines) + '\n'


def line(row: dict[str, Any]) -> str:
  """Returns a row as one line of text."""
  for key, words in {'fault': 'FAULT', 'left_out': 'left out'}.items():
    if key in row:
      return f'{row["name"]}: {words}: {row[key]}'
  figures = {k: v for k, v in row.items() if k not in BESIDES and v is not None}
  return f'{row["name"]}: ' + ', '.join(f'{k} {_cell(v)}' for k, v in figures.items())


def _table(rows: list[dict[str, Any]]) -> list[str]:
  columns = list(dict.fromkeys(key for row in rows for key in row if key not in BESIDES))
  if not columns:
    return []
  table = [['', *columns]] + [[row['name'], *(_cell(row.get(c)) for c in columns)] for row in rows]
  lines = [f'| {" | ".join(cells)} |' for cells in table]
  return [lines[0], '|---' * (len(columns) + 1) + '|', *lines[1:]]


def _cell(value: Any) -> str:
  if value is None:
    return ''
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
  """Replaces NaN and infinities, which JSON does not have, by their names."""
  if isinstance(value, dict):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(item) for item in value]
  return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, text: str):
  temporary = path.with_name(f'.{path.name}')
  temporary.write_text(text)
  os.replace(temporary, path)
