"""Small files: replaced atomically, and read with their faults named.

Paths are pathlib's, or etils' where a file may lie in a bucket.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videogpt_jax.errors import UserError


def check_folder(flag: str, folder: Path):
  """Refuses, before any work, a folder that cannot be made or written to (UserError).

  Args:
    flag: that names it, for the message.
    folder: it need not exist yet.
  """
  if '://' in str(folder):  # a bucket, whose rights show when something is written
    return
  there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
  if not there.is_dir():
    raise UserError(f'{flag} {folder}: {there} is a file; name a folder')
  if not os.access(there, os.W_OK | os.X_OK):
    raise UserError(f'{flag} {folder}: cannot write to {there}; name another folder')


def replace(file: Path, content: str | bytes):
  """Replaces a file atomically, so that no reader finds half of it.

  Raises:
    UserError: it cannot be written, since the disk is full, read-only or gone, say.
  """
  temporary = file.with_name(file.name + '.tmp')
  try:
    if isinstance(content, str):
      temporary.write_text(content)
    else:
      temporary.write_bytes(content)
    temporary.replace(file)
  except OSError as error:
    raise UserError(
      f'cannot write {file} ({error.strerror or error}); mend the disk and give the same command '
      'again'
    ) from error


REMEDY = 'restore it, or delete it and give the same command again'


def read_json(file: Path, default, remedy: str = REMEDY):
  """Returns the file's content, or `default` where there is no such file.

  NaN and Infinity, which older versions wrote, are read as well.

  Raises:
    UserError: it is no JSON, or holds something else than `default` is.
  """
  if not file.exists():
    return default
  try:
    found = json.loads(file.read_text())
  except (OSError, ValueError, RecursionError) as error:  # of JSON and Unicode, too
    raise UserError(f'{file} is broken ({error}); {remedy}') from None
  kinds = (int, float) if isinstance(default, float) else type(default)
  if not isinstance(found, kinds):
    raise UserError(
      f'{file} is broken (it holds a {type(found).__name__}, not a {type(default).__name__}); '
      f'{remedy}'
    )
  return found


def write_json(file: Path, content: Any):
  """Replaces the file atomically, so that no reader finds half of it; NaN and infinity as null."""
  replace(file, json.dumps(_finite(content), indent=2, sort_keys=True, allow_nan=False) + '\n')


def _finite(content: Any) -> Any:
  if isinstance(content, Mapping):
    return {key: _finite(value) for key, value in content.items()}
  if isinstance(content, list | tuple):
    return [_finite(value) for value in content]
  return None if isinstance(content, float) and not math.isfinite(content) else content


_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO = 1 << 30, 100
"""What an archive may unpack to, whatever its size, and how many times its own size."""


def check_unpacked(unpacked: int, packed: int):
  """Refuses an archive that unpacks to many times its size (ValueError), given both in bytes."""
  if unpacked > max(_PLAUSIBLE_BYTES, _PLAUSIBLE_RATIO * packed):
    raise ValueError(f'its {packed} bytes unpack to {unpacked}')
