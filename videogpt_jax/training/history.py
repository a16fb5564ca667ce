"""The figures of a stage over its steps, in a small file that needs no TensorBoard to be read."""

import math
from collections.abc import Mapping
from typing import Any

from etils.epath import Path

from videogpt_jax import typed
from videogpt_jax.errors import UserError
from videogpt_jax.files import read_json, write_json

FILE = 'history.json'

MOST = 2000
"""Steps from which on they are thinned to half as many, evenly; those with scores stay."""


class History:
  """Figures by step.

  Args:
    folder: of the stage; what an earlier run has left there goes on.
  Attributes:
    devices: what the stage ran on last.
    rows: (step, figures by name), in order.
  """

  def __init__(self, folder: Path):
    self._file = folder / FILE
    found = read_json(self._file, {})
    try:
      self.devices = typed.read(found.get('devices', ''), str, 'devices')
      self.rows = [_row(row) for row in _list(found.get('rows', []), 'rows')]
    except UserError as error:
      raise UserError(f'{self._file} is broken ({error}); delete it') from None

  def add(self, step: int, figures: Mapping[str, float]):
    """Adds figures of a step; those of later ones, which are done again, are dropped."""
    while self.rows and self.rows[-1][0] > step:
      self.rows.pop()
    if self.rows and self.rows[-1][0] == step:
      self.rows[-1][1].update(figures)
    else:
      self.rows.append((step, dict(figures)))
    if len(self.rows) > MOST:
      self.rows = self._thinned()

  def _thinned(self) -> list[tuple[int, dict[str, float]]]:
    apart = (self.rows[-1][0] - self.rows[0][0]) / (MOST / 2)
    kept = [self.rows[0]]
    for step, figures in self.rows[1:]:
      scored = any(name.startswith('test/') for name in figures)
      if scored or step - kept[-1][0] >= apart:
        kept.append((step, figures))
    return kept

  def save(self):
    """Writes the file."""
    self._file.parent.mkdir(parents=True, exist_ok=True)
    rows = [[step, figures] for step, figures in self.rows]
    write_json(self._file, {'devices': self.devices, 'rows': rows})

  def series(self) -> dict[str, list[tuple[int, float]]]:
    """Returns the finite (step, value) pairs of each figure."""
    found: dict[str, list[tuple[int, float]]] = {}
    for step, figures in self.rows:
      for name, value in figures.items():
        if value is not None and math.isfinite(value):
          found.setdefault(name, []).append((step, value))
    return found


def _row(row: Any) -> tuple[int, dict[str, float | None]]:
  if len(_list(row, 'a row')) != 2:
    raise UserError(f'a row has {len(row)} entries, not 2')
  step, figures = typed.read(row[0], int, 'a step'), typed.read(row[1], dict, 'figures')
  for name, value in figures.items():
    if value is not None:
      typed.read(value, float, name)
  return step, figures


def _list(value: Any, name: str) -> list:
  if not isinstance(value, list):
    raise UserError(f'{name} is a {type(value).__name__}, not a list')
  return value
