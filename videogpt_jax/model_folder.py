"""A trained model as a folder to give away, in the shape of the Hugging Face hub's.

`model.safetensors` has the arrays, and `config.json` all that loading needs to know of them. Both
are data: types and limits of the configuration are checked first, then names and shapes of the
arrays, and only then are the arrays read.
"""

import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors.numpy import save

from videogpt_jax import files, memory, typed
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.interop import safetensors_file
from videogpt_jax.models.trained import Trained
from videogpt_jax.readers import Cut
from videogpt_jax.tokenizer import Tokenizer, abstract_tokenizer
from videogpt_jax.training.paths import name_of
from videogpt_jax.videogpt import VideoGPT, abstract_prior

WEIGHTS, CONFIG, TRAINING = 'model.safetensors', 'config.json', 'train_config.json'
STARTS, CARD, PICTURE = 'starts.safetensors', 'README.md', 'samples.gif'

FILES = {
  WEIGHTS: 'the arrays of both networks',
  CONFIG: 'what they are the arrays of',
  TRAINING: 'the configuration that they were trained with',
  STARTS: 'held-out clips and actions to begin with',
  CARD: 'the card',
  PICTURE: 'generated videos',
}
"""Files of such a folder; only the first two are needed."""

FORMAT, VERSION = 'videogpt_jax', 1
"""What `config.json` begins with. Readers refuse versions that they do not know."""

DTYPES = ('float32', 'bfloat16')
"""Types that weights are stored as; all models compute with float32 weights."""

_STORED = {'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16', 'I32': 'int32', 'BOOL': 'bool'}

_REMEDY = 'get the whole folder again'

_MOST_NAMES = 2**16


@dataclasses.dataclass(frozen=True)
class Description:
  """What `config.json` says.

  Attributes:
    experiment: states both networks, or the tokenizer alone, and the size of clips.
    has_prior: whether there is a prior.
    class_names, action_names: of its classes and actions, see VideoGPT.
    cut: how its clips were cut.
  """

  experiment: Experiment
  has_prior: bool
  class_names: tuple[str, ...]
  action_names: tuple[str, ...]
  cut: Cut


def holds(file: str | os.PathLike) -> bool:
  """Whether a file is the one that stands for such a folder."""
  return pathlib.PurePath(file).name == WEIGHTS


def find(folder: pathlib.Path) -> pathlib.Path | None:
  """Returns the file that stands for such a folder, or None if the folder is another kind.

  Raises:
    UserFileError: the folder is of this kind, and the file is missing.
  """
  if (file := folder / WEIGHTS).exists():
    return file
  try:
    found = files.read_json(folder / CONFIG, {})
  except UserError:
    return None
  if found.get('format') == FORMAT:
    raise UserFileError(f'{folder} has the {CONFIG} of a model and no {WEIGHTS}; {_REMEDY}')
  return None


def write(folder: pathlib.Path, model: VideoGPT | Tokenizer, dtype: str = 'float32'):
  """Writes a model's arrays and what loading needs.

  Args:
    folder: it must exist.
    model: all of its arrays are written; a codebook and running statistics are among them.
    dtype: of `DTYPES`. float32 keeps every bit, and bfloat16 rounds to the nearest, ties to even.
  Raises:
    UserError: the folder cannot be written to.
  """
  tensors = {}
  for name, part in _parts(model).items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(part.state):
      array = np.asarray(leaf)
      rounded = dtype == 'bfloat16' and array.dtype == np.float32
      tensors[f'{name}/{name_of(path)}'] = array.astype(ml_dtypes.bfloat16) if rounded else array
  files.replace(folder / WEIGHTS, save(tensors, {'format': FORMAT}))
  files.write_json(folder / CONFIG, _described(model))


def load(file: pathlib.Path, with_prior: bool = True) -> VideoGPT | Tokenizer:
  """Returns the model of a folder.

  Args:
    file: its `model.safetensors`.
    with_prior: False reads the tokenizer alone.
  Raises:
    UserFileError: `config.json` is missing beside it.
    UserError: a file is damaged, or they do not belong together.
  """
  said = describe(file)
  data, config = said.experiment.dataset, said.experiment.prior
  tokenizer = abstract_tokenizer(said.experiment.vqvae, data.sequence_length, data.resolution)
  parts: dict[str, Trained] = {'vqvae': tokenizer}
  if said.has_prior:
    parts['prior'] = abstract_prior(config, tokenizer.spec)
  _check_arrays(file, parts)
  if not with_prior:
    parts.pop('prior', None)
  memory.check_fits(f'the model of {file.parent}', [part.state for part in parts.values()])
  filled = {name: _filled(file, name, part) for name, part in parts.items()}
  if 'prior' not in filled:
    return filled['vqvae']
  names = said.class_names, said.action_names
  return VideoGPT(filled['vqvae'], filled['prior'], config, *names, cut=said.cut)


def check_format(file: pathlib.Path):
  """Refuses a `config.json` that is not of such a folder, or of a later version (UserError)."""
  values = files.read_json(file, {}, _REMEDY)
  if values.get('format') != FORMAT:
    raise UserError(f'{file} is not the configuration of a videogpt_jax model; give another model')
  if values.get('version') != VERSION:
    raise UserError(
      f'{file} has version {str(values.get("version"))[:20]}, and this program reads version '
      f'{VERSION}; update videogpt_jax'
    )


def describe(file: pathlib.Path) -> Description:
  """Returns what `config.json` says of a `model.safetensors`.

  Raises:
    UserFileError: it is missing.
    UserError: it is broken, or describes an impossible model.
  """
  config = file.with_name(CONFIG)
  if not config.exists():
    raise UserFileError(f'{file.parent} has a {WEIGHTS} and no {CONFIG}; {_REMEDY}')
  check_format(config)
  values = files.read_json(config, {}, _REMEDY)
  del values['format'], values['version']
  try:
    names = {key: _names(key, values.pop(key, [])) for key in ('class_names', 'action_names')}
    cut = typed.build(Cut, values.pop('cut', {}), 'cut')
    clips = {key: values.pop(key, None) for key in ('sequence_length', 'resolution')}
    prior = values.pop('prior', None)
    values |= {'dataset': {'source': 'random'} | clips}
    if prior is not None:  # whose kernel of attention may be missing here
      values['prior'] = typed.read(prior, dict, 'prior') | {'attn_backend': 'auto'}
    experiment = from_dict(values)
    sizes = experiment.prior.n_classes, experiment.prior.action_dim
    for size, (key, found) in zip(sizes, names.items(), strict=True):
      if 0 < len(found) < size:
        raise UserError(f'{key} has {len(found)} names, and {size} are needed, or none')
    return Description(experiment, prior is not None, **names, cut=cut)
  except UserError as error:
    raise UserError(f'{config}: {error}') from None


def _parts(model: VideoGPT | Tokenizer) -> dict[str, Trained]:
  if isinstance(model, VideoGPT):
    return {'vqvae': model.vqvae, 'prior': model.prior}
  return {'vqvae': model}


def _described(model: VideoGPT | Tokenizer) -> dict[str, Any]:
  has_prior = isinstance(model, VideoGPT)
  tokenizer = model.vqvae if has_prior else model
  said = {
    'format': FORMAT,
    'version': VERSION,
    'sequence_length': tokenizer.spec.sequence_length,
    'resolution': tokenizer.spec.resolution,
    'vqvae': dataclasses.asdict(tokenizer.config),
  }
  if has_prior:
    said |= {'prior': dataclasses.asdict(model.config), 'cut': dataclasses.asdict(model.cut)}
    said |= {'class_names': model.class_names, 'action_names': model.action_names}
  return said


def _names(key: str, found: Any) -> tuple[str, ...]:
  if not isinstance(found, list) or len(found) > _MOST_NAMES:
    raise UserError(f'{key} must be a list of at most {_MOST_NAMES} names')
  return tuple(typed.read(name, str, key) for name in found)


def _check_arrays(file: pathlib.Path, parts: dict[str, Trained]):
  """Refuses arrays that are missing, superfluous, or of another shape or type (UserError)."""
  found, wanted = safetensors_file.layout(file), {}
  for name, part in parts.items():
    leaves = jax.tree_util.tree_leaves_with_path(part.state)
    wanted |= {f'{name}/{name_of(path)}': leaf for path, leaf in leaves}
  for names, what in ((wanted.keys() - found, 'lacks'), (found.keys() - wanted, 'has superfluous')):
    if names:
      more = f' and {len(names) - 1} more' if len(names) > 1 else ''
      raise UserError(f'{file} {what} {min(names)[:200]}{more}, by its {CONFIG}; {_REMEDY}')
  for name, leaf in wanted.items():
    stored, shape = found[name]
    dtype = np.dtype(_STORED.get(stored, 'V'))
    same = dtype == leaf.dtype or (leaf.dtype == np.float32 and dtype.itemsize == 2)
    if shape != leaf.shape or not same:
      raise UserError(
        f'{file}: {name} is {stored} {list(shape)}, and {CONFIG} wants {leaf.dtype} '
        f'{list(leaf.shape)}; {_REMEDY}'
      )


def _filled(file: pathlib.Path, part: str, like: Trained) -> Trained:
  """Returns a network of these shapes with the arrays of a file."""
  leaves = jax.tree_util.tree_leaves_with_path(like.state)
  arrays, _ = safetensors_file.read(file, [f'{part}/{name_of(path)}' for path, _ in leaves])
  fill = lambda path, leaf: jnp.asarray(arrays[f'{part}/{name_of(path)}'].astype(leaf.dtype))
  return dataclasses.replace(like, state=jax.tree_util.tree_map_with_path(fill, like.state))
