"""Clips that could not be read, and gave their place to others: counted, and reported in the end.

The clip that takes the place is the same part of the next recording, in the order of their names,
that can be read; where none can, another part. That depends on the files alone, so any number of
readers, and a run that is resumed, see the same batches.
"""

import collections
import logging
import threading

_log = logging.getLogger(__name__)
_N_NAMED = 10  # recordings in a report

_lock = threading.Lock()
_counts: collections.Counter[str] = collections.Counter()
_reasons: dict[str, str] = {}


def add(name: str, reason: str):
  """Counts a clip, and says so the first time that its recording cannot be read."""
  with _lock:
    _counts[name] += 1
    is_new = _counts[name] == 1
    _reasons.setdefault(name, reason)
  if is_new:
    _log.warning('%s: %s; another clip takes its place', name, reason)


def report() -> list[str]:
  """Returns what was replaced so far, a line for each recording, and forgets it."""
  with _lock:
    counts, reasons = _counts.most_common(), dict(_reasons)
    _counts.clear()
    _reasons.clear()
  lines = [
    f'replaced {n} clip{"s" * (n > 1)} of {name}: {reasons[name]}' for name, n in counts[:_N_NAMED]
  ]
  if len(counts) > _N_NAMED:
    n = sum(n for _, n in counts[_N_NAMED:])
    lines.append(f'replaced {n} clips of {len(counts) - _N_NAMED} more recordings')
  return lines
