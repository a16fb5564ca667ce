"""State dicts in safetensors files, with the arguments as JSON in the metadata."""

import argparse
import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import safetensors
from safetensors.numpy import save_file

from videogpt_jax.errors import UserError

_ARGS = 'args'


def read_safetensors(path: str | os.PathLike) -> dict:
  """Reads a state dict and its arguments into the structure of a checkpoint.

  Returns:
    `{'state_dict': name -> array, 'hyper_parameters': {'args': Namespace}}`.
  Raises:
    FileNotFoundError: there is no such file.
    UserError: the file is damaged, or its metadata hold no arguments.
  """
  tensors, metadata = read(path)
  if _ARGS not in metadata:
    raise UserError(
      f'the metadata of {os.fspath(path)} hold no {_ARGS!r} (hyper-parameters as JSON); '
      'give the .ckpt, or a file written by export_torch'
    )
  try:
    args = argparse.Namespace(**json.loads(metadata[_ARGS]))
  except (ValueError, TypeError, RecursionError) as error:
    raise UserError(f'{_ARGS!r} in {os.fspath(path)} is not a JSON object: {error}') from error
  return {'state_dict': tensors, 'hyper_parameters': {'args': args}}


def read(
  path: str | os.PathLike, names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Reads the tensors of a file, all or these, and its metadata.

  Raises:
    FileNotFoundError: there is no such file.
    UserError: the file is damaged, or has offsets that are not those of its tensors.
  """
  with _opened(path) as file:
    wanted = file.keys() if names is None else names
    return {name: file.get_tensor(name) for name in wanted}, file.metadata() or {}


def layout(path: str | os.PathLike) -> dict[str, tuple[str, tuple[int, ...]]]:
  """Returns type ('F32', 'BF16', ...) and shape of each tensor of a file, without reading them.

  Errors are those of `read`.
  """
  with _opened(path) as file:
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[safetensors.safe_open]:
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      yield file
  except FileNotFoundError:
    raise
  except Exception as error:  # of safetensors, or of NumPy, which lacks some of its dtypes
    raise UserError(f'cannot read {os.fspath(path)} as safetensors: {error}') from error


def write_safetensors(
  path: str | os.PathLike, tensors: Mapping[str, np.ndarray], args: argparse.Namespace
):
  """Writes a state dict, and its arguments as metadata."""
  save_file(dict(tensors), path, metadata={'format': 'pt', _ARGS: json.dumps(vars(args))})
