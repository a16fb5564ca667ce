"""The most memory that this process has needed, on Linux."""

import pathlib
import re


def megabytes() -> int:
  """Returns the peak of resident memory in MiB.

  `ru_maxrss` would do for a process with a small parent: it begins with what the parent held.
  """
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+)', status)[1]) >> 10
