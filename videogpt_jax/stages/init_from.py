"""A stage that begins with the model of another run, or of a file, whole or in parts."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import jax
from flax import nnx
from jax.sharding import Mesh

from videogpt_jax import drift
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError
from videogpt_jax.loading import load_shapes, load_videogpt, load_vqvae
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.config import TrainingConfig
from videogpt_jax.training.paths import name_of
from videogpt_jax.training.step import Stage


@dataclasses.dataclass(frozen=True)
class Match:
  """Which arrays of a model another one has, by name.

  Attributes:
    taken: it has them, of the same shape.
    skipped: left out on purpose.
    missing: it has none of this name; or of another shape, which is then stated.
    unused: it has them, and the model does not.
  """

  taken: tuple[str, ...]
  skipped: tuple[str, ...]
  missing: tuple[str, ...]
  unused: tuple[str, ...]


def match(
  ours: Mapping[str, Sequence[int]], theirs: Mapping[str, Sequence[int]], skip: Sequence[str] = ()
) -> Match:
  """Compares the shapes of two models' arrays by name.

  Args:
    ours, theirs: shapes by name.
    skip: names of arrays, or of modules, whose arrays are left out.
  Raises:
    UserError: a name in `skip` is none of ours.
  """
  skipped = tuple(name for name in ours if any(_inside(name, part) for part in skip))
  for part in skip:
    if not any(_inside(name, part) for name in ours):
      raise UserError(f'init_skip {part!r} is no part of the model; parts are {_parts(ours)}')
  wanted = {name: tuple(shape) for name, shape in ours.items() if name not in skipped}
  missing = {name: '' for name in wanted if name not in theirs}
  for name in wanted.keys() & theirs.keys():
    if wanted[name] != tuple(theirs[name]):
      missing[name] = f' ({list(theirs[name])} there, {list(wanted[name])} here)'
  return Match(
    taken=tuple(name for name in wanted if name not in missing),
    skipped=skipped,
    missing=tuple(f'{name}{missing[name]}' for name in sorted(missing)),
    unused=tuple(name for name in theirs if name not in ours),
  )


def check(stage: Stage, experiment: Experiment) -> list[str]:
  """Looks at the model that a stage is to begin with, without reading the arrays of a workdir.

  Args:
    stage: shapes suffice.
    experiment: whose section of the stage has `init_from`.
  Returns:
    lines that tell what is taken over and what is not.
  Raises:
    UserError: there is no such model, or an array is missing there that `init_skip` does not name.
  """
  training = getattr(experiment, f'{stage.name}_training')
  source = training.init_from
  model, theirs = load_shapes(source, stage.name)
  found = _match(stage, training, model.state)
  if found.missing:
    names = {text.split(' ')[0]: text for text in found.missing}
    absent = [name for name, text in names.items() if name == text]
    differing = [text for name, text in names.items() if name != text]
    told = [*_outermost(absent, [*found.taken, *names.keys() - set(absent)]), *differing]
    parts = ','.join(filter(None, [training.init_skip, *_outermost(names, found.taken)]))
    raise UserError(
      f'{source} lacks {len(found.missing)} arrays of the {stage.name}: '
      f'{", ".join(told)}; change the model, or draw them: '
      f'--config.{stage.name}_training.init_skip={parts}'
    )
  lines = [f'{stage.name}: begins with {source}: {len(found.taken)} arrays ({_parts(found.taken)})']
  for names, what in ((found.skipped, 'drawn anew'), (found.unused, 'only there, and not used')):
    if names:
      lines.append(f'{stage.name}: {what}: {", ".join(names)}')
  for change in drift.changes(theirs, getattr(experiment, stage.name), stage.name):
    if change.key.split('.')[-1] not in drift.SAME_MODEL:
      lines.append(f'warning: {change}, so that the same arrays mean something else')
  return lines


def begin(stage: Stage, training: TrainingConfig, mesh: Mesh) -> tuple[Stage, Tokenizer]:
  """Returns the stage with the arrays that it begins with, and the tokenizer they belong to."""
  if stage.name == 'vqvae':
    model = tokenizer = load_vqvae(training.init_from)
  else:
    whole = load_videogpt(training.init_from, mesh)
    model, tokenizer = whole.prior, whole.vqvae
  taken = set(_match(stage, training, model.state).taken)
  arrays = {name: x for name, x in arrays_of(model.state).items() if name in taken}
  return dataclasses.replace(stage, given=arrays), tokenizer


def arrays_of(state: nnx.State) -> dict[str, jax.Array]:
  """Returns the arrays of a model by name."""
  return {name_of(path): x for path, x in jax.tree_util.tree_leaves_with_path(state)}


def _match(stage: Stage, training: TrainingConfig, state: nnx.State) -> Match:
  _, *parts = stage.abstract()
  ours = {name: x.shape for part in parts for name, x in arrays_of(part).items()}
  theirs = {name: x.shape for name, x in arrays_of(state).items()}
  return match(ours, theirs, [part for part in training.init_skip.split(',') if part])


def _inside(name: str, part: str) -> bool:
  return name == part or name.startswith(f'{part}/')


def _outermost(names: Iterable[str], others: Iterable[str]) -> list[str]:
  """Returns the largest modules that hold these arrays and none of the others."""
  modules = lambda name: list(itertools.accumulate(name.split('/'), '{}/{}'.format))
  around = {module for other in others for module in modules(other)}
  found = {next(module for module in modules(name) if module not in around) for name in names}
  return sorted(found)


def _parts(names) -> str:
  """Returns the modules of these arrays."""
  return ', '.join(dict.fromkeys(name.split('/')[0] for name in names))
