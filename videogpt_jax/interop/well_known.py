"""The published models by name, and the expected location of their files."""

import contextlib
import difflib
import os
import pathlib

from videogpt_jax import shipped
from videogpt_jax.errors import UserFileError

WELL_KNOWN = {
  'bair_stride4x2x2': '1iIAYJ2Qqrx5Q94s5eIXQYJgAydzvT_8L',
  'ucf101_stride4x4x4': '1uuB_8WzHP_bbBmfuaIV7PK_Itl3DyHY5',
  'kinetics_stride4x4x4': '1DOvOZnFAIQmux6hG7pN_HkyJZy3lXbCB',
  'kinetics_stride2x4x4': '1jvtjjtrtE4cy6pl7DK_zWFEPY3RZt2pB',
  'bair_gpt': '1fNTtJAgO6grEtPNrufkpbee1CfGztW-1',
  'ucf101_uncond_gpt': '1QkF_Sb2XVRgSbFT_SxQ6aZUeDFoliPQq',
}
"""Google Drive ids of the published models. Source: github.com/wilson1yan/VideoGPT, download.py."""

_CACHE = '~/.cache/videogpt'
"""Folder of the published code's downloads, each under its name."""


def _near(path: pathlib.Path) -> str:
  """Says where a path that is not there comes from, or names what has nearly its name."""
  if path == pathlib.Path('runs/demo'):
    return ' (`make demo` trains it)'
  beside = []
  with contextlib.suppress(OSError):  # no such folder, or none that may be read
    beside = os.listdir(path.parent)
  near = difflib.get_close_matches(path.name, beside, n=1)
  return f' (there is {path.with_name(near[0])})' if near else ''


def find(path: str | os.PathLike) -> pathlib.Path:
  """Returns the file for a path or the name of a published model.

  Raises:
    UserFileError: the file is missing; for a published model the message says how to get it.
  """
  if os.path.exists(path):
    return pathlib.Path(path)
  name = os.fspath(path)
  if name not in WELL_KNOWN:
    names, near = [*shipped.model_names(), *WELL_KNOWN], _near(pathlib.Path(name))
    raise UserFileError(
      f'{name}: no such file or folder{near}, and no model of this name; names are '
      f'{", ".join(names)}; addresses on the hub begin with hf://'
    )
  file = pathlib.Path(_CACHE).expanduser() / name
  if not file.exists():
    raise UserFileError(
      f'the published model {name} is expected at {_CACHE}/{name} and missing; download it with '
      f'`pip install gdown && mkdir -p {_CACHE} && gdown {WELL_KNOWN[name]} -O {_CACHE}/{name}`, '
      'or give the path of its file'
    )
  return file
