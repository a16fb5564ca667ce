"""Models on the Hugging Face hub, by addresses: hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.

The library huggingface_hub is an extra of the package. It keeps what it has downloaded in its own
cache, and finds tokens and another server by itself (HF_TOKEN, HF_ENDPOINT).
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from videogpt_jax import model_folder, optional
from videogpt_jax.errors import UserError, UserFileError

SCHEME = 'hf://'

_ADDRESS = re.compile(r'hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?')


def is_address(path: str | os.PathLike) -> bool:
  """Whether a path is an address on the hub."""
  return os.fspath(path).startswith(SCHEME)


def pull(address: str) -> pathlib.Path:
  """Returns a folder in the hub's cache with the model at an address, downloaded if necessary.

  Its small `config.json` comes first, so that no other kind of model is downloaded.

  Raises:
    UserFileError: there is no such model, or no such revision of it.
    UserError: it is no model of this program, the hub cannot be reached, or the extra is missing.
  """
  repository, revision = parts(address)
  with _told(address):
    huggingface_hub = _library()
    config = huggingface_hub.hf_hub_download(repository, model_folder.CONFIG, revision=revision)
    model_folder.check_format(pathlib.Path(config))
    files = list(model_folder.FILES)
    return pathlib.Path(
      huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=files)
    )


def push(folder: pathlib.Path, address: str) -> str:
  """Uploads the files of a model's folder as one commit; a new repository is private.

  Args:
    folder: of `export`.
    address: without a revision, or with the name of a branch.
  Returns:
    the commit's address for a browser.
  Raises:
    UserFileError: the account may not write there.
    UserError: the hub cannot be reached, or the extra is missing.
  """
  repository, revision = parts(address)
  with _told(address):
    huggingface_hub = _library()
    huggingface_hub.create_repo(repository, private=True, exist_ok=True)
    done = huggingface_hub.upload_folder(
      repo_id=repository,
      folder_path=folder,
      revision=revision,
      allow_patterns=list(model_folder.FILES),
      commit_message='videogpt_jax export',
    )
    return str(done.commit_url)


def parts(address: str) -> tuple[str, str | None]:
  """Returns the repository and the revision of an address (UserError: it has not the form)."""
  if not (found := _ADDRESS.fullmatch(address)):
    raise UserError(
      f'{address} is no address on the hub; write hf://OWNER/NAME, or with a revision '
      'hf://OWNER/NAME@REVISION'
    )
  return found[1], found[2]


def _library():
  import huggingface_hub
  from huggingface_hub.utils import logging

  logging.set_verbosity_error()  # warnings of its retries, which end in an error of ours
  return huggingface_hub


@contextlib.contextmanager
def _told(address: str) -> Iterator[None]:
  """Turns what the library raises into one line that names the address."""
  try:
    yield
  except UserError:
    raise
  except ModuleNotFoundError as error:
    raise optional.explain(error) or error from None
  except Exception as error:
    raise _explained(address, error) from error


def _explained(address: str, error: Exception) -> UserError:
  from huggingface_hub import errors

  text = ' '.join(str(error).split())[:300]
  if isinstance(error, errors.LocalEntryNotFoundError):
    return UserError(f'{address} is not in the cache, and the hub cannot be reached: {text}')
  if isinstance(error, errors.RevisionNotFoundError):
    return UserFileError(f'{address}: the model has no such revision; give a branch, tag or commit')
  if isinstance(error, errors.EntryNotFoundError):
    return UserError(f'{address} has no {model_folder.CONFIG}, so it is no model of videogpt_jax')
  if isinstance(error, errors.RepositoryNotFoundError):
    return UserFileError(
      f'{address}: the hub has no such model, or does not show it to this account; check the name, '
      'or log in: hf auth login'
    )
  return UserError(f'{address}: the hub refuses, or cannot be reached: {text or type(error)}')
