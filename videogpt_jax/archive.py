"""Archives that people bring, unpacked without trust in what they say."""

import pathlib
import re
import shutil
import stat
import zipfile

from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.files import check_unpacked

_IGNORED = '__MACOSX'
"""Folder of what a Mac adds to each file."""


def unpack_zip(file: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """Unpacks the files of a zip that are not in a folder yet; returns the folder.

  Args:
    file: the zip.
    folder: to unpack into; it is made.
  Raises:
    UserFileError: there is no such file.
    UserError: it is no zip, or damaged or encrypted; one of its names leads out of the folder, or
      is a link; it unpacks to many times its size, or to more than the disk has room for. Unless a
      file is found damaged as it is unpacked, nothing has been written by then.
  """
  if not file.exists():
    raise UserFileError(f'{file} does not exist; give the path of a zip')
  try:
    with zipfile.ZipFile(file) as archive:
      members = [info for info in archive.infolist() if _is_wanted(info)]
      for info in members:
        _check(info)
      missing = [info for info in members if not _is_there(folder / info.filename, info)]
      n_bytes = sum(info.file_size for info in missing)
      check_unpacked(n_bytes, file.stat().st_size)
      folder.mkdir(parents=True, exist_ok=True)
      free = shutil.disk_usage(folder).free
      if n_bytes > free:
        raise ValueError(f'it unpacks to {n_bytes >> 20} MiB, and the disk has {free >> 20} left')
      for info in missing:
        _write(archive, info, folder / info.filename)
  except OSError as error:
    raise UserError(f'{file} cannot be unpacked into {folder} ({error})') from None
  except Exception as error:  # a damaged or forged file may fail anywhere in zipfile
    raise UserError(f'{file} cannot be unpacked ({error}); make the zip anew') from None
  return folder


def _is_wanted(info: zipfile.ZipInfo) -> bool:
  return not info.is_dir() and _IGNORED not in info.filename.split('/')


def _check(info: zipfile.ZipInfo):
  """Refuses a member that would lie outside of the folder, or cannot be read (ValueError)."""
  name = info.orig_filename  # the other one is cut short at a zero byte
  parts = re.split(r'[/\\]', name)
  if '..' in parts or not parts[0] or ':' in parts[0] or '\0' in name:
    raise ValueError(f'its entry {name!r} leads out of the folder')
  if stat.S_ISLNK(info.external_attr >> 16):
    raise ValueError(f'its entry {name!r} is a link')
  if info.flag_bits & 1:
    raise ValueError(f'its entry {name!r} is encrypted')


def _is_there(place: pathlib.Path, info: zipfile.ZipInfo) -> bool:
  return place.is_file() and place.stat().st_size == info.file_size


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: pathlib.Path):
  place.parent.mkdir(parents=True, exist_ok=True)
  with archive.open(info) as packed, place.open('wb') as unpacked:
    shutil.copyfileobj(packed, unpacked)
