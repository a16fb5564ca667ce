"""Exports a trained model as a folder to give away: weights, configuration, starts, card."""

import dataclasses
import math
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import videogpt_jax
from videogpt_jax import card, files, model_folder, shipped, workdir
from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError, UserFileError
from videogpt_jax.evaluation import record
from videogpt_jax.loading import find_model, load_model, load_starts
from videogpt_jax.stages import clips
from videogpt_jax.stages.scored import CLIPLESS
from videogpt_jax.stages.summary import figures, meaning
from videogpt_jax.starts import Starts, write_starts
from videogpt_jax.tokenizer import Tokenizer
from videogpt_jax.training.history import History
from videogpt_jax.training.logging import duration, read_metrics, read_times
from videogpt_jax.videogpt import VideoGPT
from videogpt_jax.world import plays

MOST_BYTES = 2**24
"""What the frames of held-out clips may take in an export."""


@dataclasses.dataclass(frozen=True)
class Options:
  """How a model is exported.

  Attributes:
    dtype: of the stored weights, one of `model_folder.DTYPES`.
    starts: number of held-out clips to bring, where the prior needs frames or actions or is played.
    licence: of the weights, by its identifier on the hub; '' takes that of the card that the model
      came with, or apache-2.0.
    data: file with a text about the data; '' takes that of `data/cards`, if one is about them.
  """

  dtype: str = 'float32'
  starts: int = 8
  licence: str = ''
  data: str = ''


def export(
  path: str, out: pathlib.Path, options: Options, say: Callable[[str], None] = print
) -> list[pathlib.Path]:
  """Writes a model to a folder that `load_videogpt` and the hub take.

  Args:
    path: a workdir, a checkpoint, another export, or the name or address of one.
    out: folder, made if necessary; an earlier export in it is replaced.
    options: how.
    say: is told what is left out, and why.
  Returns:
    the files.
  Raises:
    UserFileError: there is no such model, or no such file of `options.data`.
    UserError: the folder holds something else.
  """
  place = find_model(path)
  _check_free(out, pathlib.Path(place))
  about = _about_given(options.data)
  model, experiment = load_model(place), None
  if place.is_dir():
    experiment = workdir.read_experiment(place)
    for line in workdir.unfinished(place):
      say(f'warning: {line}')
    brought = held_out_starts(model, experiment, options, say)
  else:
    brought = load_starts(place)
  out.mkdir(parents=True, exist_ok=True)
  for name in model_folder.FILES:
    (out / name).unlink(missing_ok=True)
  model_folder.write(out, model, options.dtype)
  if brought:
    write_starts(out / model_folder.STARTS, brought)
  _copy(pathlib.Path(place), experiment, out)
  licence, carried = _carried(pathlib.Path(place))
  facts = card.Facts(
    name=experiment.name if experiment else pathlib.Path(path).stem,
    licence=options.licence or licence or 'apache-2.0',
    dtype=options.dtype,
    version=f'{videogpt_jax.__version__} ({record.code_version()})',
    starts=len(brought.frames) if brought else 0,
    picture=model_folder.PICTURE if (out / model_folder.PICTURE).exists() else '',
    carried=carried,
    **(_of_run(pathlib.Path(place), experiment, model, say) if experiment else {}),
  )
  facts = dataclasses.replace(facts, data=about or facts.data)
  files.replace(out / model_folder.CARD, card.card(model, facts))
  return [out / name for name in model_folder.FILES if (out / name).exists()]


def _carried(place: pathlib.Path) -> tuple[str, dict[str, str]]:
  """Returns the licence and the sections that an export's own card brings; of others, nothing."""
  file = place.parent / model_folder.CARD
  return card.carried(file.read_text()) if model_folder.holds(place) and file.exists() else ('', {})


def _copy(place: pathlib.Path, experiment: Experiment | None, out: pathlib.Path):
  """Writes the configuration of training, and copies the picture, where there are any."""
  if experiment:
    found = {model_folder.PICTURE: place}
    files.write_json(out / model_folder.TRAINING, _without_places(dataclasses.asdict(experiment)))
  elif model_folder.holds(place):
    found = dict.fromkeys((model_folder.PICTURE, model_folder.TRAINING), place.parent)
  else:
    found = {}
  for name, folder in found.items():
    if (folder / name).is_file():
      shutil.copyfile(folder / name, out / name)


def _check_free(out: pathlib.Path, place: pathlib.Path):
  """Refuses a folder that holds anything but an earlier export, or the model itself (UserError)."""
  if not out.exists() or not any(out.iterdir()):
    return
  if place.exists() and out.resolve() in (place.resolve(), place.resolve().parent):
    raise UserError(f'--out {out} is the folder of the model itself; choose another')
  others = sorted({file.name for file in out.iterdir()} - set(model_folder.FILES))
  if others or model_folder.find(out) is None:
    held = ', '.join(others[:3]) or 'no model'
    raise UserError(f'--out {out} is no earlier export (it holds {held}); choose an empty folder')


def _about_given(file: str) -> str:
  if not file:
    return ''
  try:
    return pathlib.Path(file).read_text().strip()
  except (OSError, ValueError) as error:
    raise UserFileError(f'--data {file} cannot be read: {error}; give a file of text') from None


def held_out_starts(
  model: VideoGPT | Tokenizer, experiment: Experiment, options: Options, say: Callable[[str], None]
) -> Starts | None:
  """Returns held-out clips of a run's data, where its prior begins with some and they are there.

  Args:
    model: of the run.
    experiment: states the data set.
    options: how many.
    say: is told why there are fewer or none.
  """
  if isinstance(model, Tokenizer) or not options.starts:
    return None
  if not (model.config.n_cond_frames or model.config.action_dim or plays(model.generator)):
    return None
  if experiment.dataset.source in CLIPLESS:
    say(f'no {model_folder.STARTS}: the run {CLIPLESS[experiment.dataset.source]}')
    return None
  n = min(options.starts, max(MOST_BYTES // math.prod(model.vqvae.spec.clip_shape), 1))
  if n < options.starts:
    say(f'{n} starts, not {options.starts}: their frames may take {MOST_BYTES >> 20} MiB')
  try:
    return clips.first_starts(experiment, n)
  except UserError as error:
    say(f'no {model_folder.STARTS}: the held-out clips cannot be read: {error}')
    return None


def _without_places(values: Any) -> Any:
  """Returns a configuration in which paths of this machine are their last part alone."""
  if isinstance(values, dict):
    return {key: _without_places(value) for key, value in values.items()}
  if isinstance(values, str) and pathlib.Path(values).expanduser().is_absolute():
    return pathlib.Path(values).name
  return values


def _of_run(
  path: pathlib.Path,
  experiment: Experiment,
  model: VideoGPT | Tokenizer,
  say: Callable[[str], None],
) -> dict[str, Any]:
  """Returns what a workdir records, as attributes of `card.Facts`."""
  scores, notes = _scores(path, model, say)
  return {
    'data': _about_data(experiment),
    'training': list(_training(path, experiment)),
    'in_use': workdir.in_use(path),
    'scores': scores,
    'notes': notes,
  }


def _training(path: pathlib.Path, experiment: Experiment) -> Iterator[card.Row]:
  for stage in workdir.TRAINED:
    if workdir.has_checkpoints(path, stage):
      step, _ = workdir.steps_done(path, stage)
      seconds = sum(read_times(path / stage / 'times.json')[1].values())
      size = getattr(experiment, f'{stage}_training').batch_size
      devices = History(path / stage).devices or 'unknown'
      yield stage, str(step), str(size), devices, duration(seconds) if seconds else 'unknown'


def _scores(
  path: pathlib.Path, model: VideoGPT | Tokenizer, say: Callable[[str], None]
) -> tuple[list[card.Row], list[str]]:
  """Returns rows and notes from a workdir's evaluation.json, and from its metrics.json."""
  metrics, notes = read_metrics(path), []
  found = files.read_json(path / 'evaluation.json', {})
  try:
    if found.get('model', model.digest) != model.digest:
      say('evaluation.json is about other weights than these, and left out of the card')
      metrics = {name: x for name, x in metrics.items() if name not in record.as_metrics(found)}
    elif found:
      metrics |= record.as_metrics(found)
      n_clips = found['protocol']['n_clips'] or 'all'
      notes.append(
        f'Protocol {found["protocol"]["name"]}: {n_clips} held-out clips, seed {found["seed"]}.'
      )
    if marked := found.get('trained_on'):
      notes.append(
        f'By the network of the perceptual loss, so not comparable: {", ".join(marked)}.'
      )
  except (LookupError, TypeError, AttributeError) as error:
    raise UserError(f'{path / "evaluation.json"} is broken ({error!r}); score again') from None
  finite = {n: x for n, x in metrics.items() if isinstance(x, int | float) and math.isfinite(x)}
  scores = [figure for figure in figures(finite) if figure.is_score()]
  return [(x.name, f'{x.value:.4g}', x.spread(), meaning(x.name)) for x in scores], notes


def _about_data(experiment: Experiment) -> str:
  """Returns what `data/` says of a run's data set, or of what is unknown about it."""
  dataset, folder = experiment.dataset, shipped.ROOT / 'data'
  if dataset.source == 'digits':
    return _beneath(folder / 'digits' / 'README.md')
  names = f'{dataset.name} {_without_places(dataset.path)} {experiment.name}'.lower()
  for file in sorted((folder / 'cards').glob('*.md')):
    if file.stem in names or (file.stem == 'vizdoom' and 'doom' in names):
      return _beneath(file)
  what = dataset.name or _without_places(dataset.path) or dataset.source
  return f'{what} ({dataset.source}). Its licence is unknown to this program; say here what it is.'


def _beneath(file: pathlib.Path) -> str:
  """Returns a page with its title as a third heading."""
  return f'##{file.read_text().strip()}' if file.exists() else ''
