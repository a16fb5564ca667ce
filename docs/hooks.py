"""Pages of the site that are generated from the code, when MkDocs builds it (`make docs`)."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import videogpt_jax
from videogpt_jax.config import Experiment
from videogpt_jax.environment import WorldEnv
from videogpt_jax.sampling.request import Generated
from videogpt_jax.starts import Starts
from videogpt_jax.world import World

RETURNED = (World, Generated, Starts, WorldEnv)
"""Classes of which public functions return objects, or that have modules of their own."""

REPOSITORY_FILES = ('CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md')
"""Pages that lie beside docs/."""

UNITS = {
  'frames': ('sequence_length', 'frame_skip', 'n_cond_frames', 'num_frames'),
  'latent frames': ('time_window', 'attn_window', 'history'),
  'frames a second': ('fps',),
  'pixels': ('resolution', 'digit_size'),
  'pixels a frame': ('digit_speed',),
  'clips': ('n_train_clips', 'n_test_clips', 'batch_size', 'fvd_clips'),
  'videos': ('num', 'previews'),
  'batches': ('evaluate_batches',),
  'micro-batches': ('grad_accum_steps',),
  'checkpoints': ('keep',),
  'passes a clip': ('passes',),
  'crops a recording': ('prior_crops',),
  'steps': (
    *('steps', 'log_every', 'evaluate_every', 'checkpoint_every', 'warmup_steps'),
    *('max_skipped', 'adversarial_start'),
  ),
  'probability': ('dropout', 'attn_dropout', 'cond_dropout', 'top_p'),
  'share': ('test_fraction',),
  'devices': ('data', 'fsdp', 'tensor', 'sequence'),
}
"""Unit of each key that has one, by the last part of its name; the others are counts or factors."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the reference, and the pages of the repository's top."""
  pages = {'configuration.md': configuration(), 'api.md': api()}
  for name in REPOSITORY_FILES:
    pages[name.lower()] = Path(name).read_text().replace('](docs/', '](')
  for name, content in pages.items():
    files.append(File.generated(config, name, content=content))
  return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_) -> str:
  """Lets links to files that are no pages name them instead; links to the marks of commands."""
  if f'| {page.file.src_uri} |' in (Path(config.docs_dir) / 'commands.md').read_text():
    markdown += "\n\n[Which of this page's commands have been run](commands.md)\n"
  markdown = re.sub(r'\[([^\]]+)\]\(\.\./(?:data|notebooks)/[^)]+\)', r'\1', markdown)
  return re.sub(r'\]\(\.\./([A-Z]+\.md)\)', lambda m: f']({m[1].lower()})', markdown)


def meanings(section: type) -> dict[str, str]:
  """Returns the meaning of each key that a dataclass's docstring, or its bases', lists."""
  found: dict[str, str] = {}
  for cls in reversed(section.__mro__):
    doc = inspect.cleandoc(cls.__doc__ or '')
    names: list[str] = []
    for line in doc.partition('Attributes:\n')[2].splitlines():
      if line and not line.startswith(' '):
        break
      if head := re.match(r'  (\w+(?:, \w+)*): (.*)', line):
        names = head[1].split(', ')
        found |= dict.fromkeys(names, head[2])
      else:
        found |= {name: f'{found[name]} {line.strip()}' for name in names if line.strip()}
  return found


def keys(section: type, path: str = '') -> Iterator[tuple[str, str, object, str]]:
  """Yields each key of an experiment: its path, type, default and meaning ('' if none is told)."""
  hints, told = typing.get_type_hints(section), meanings(section)
  for field in dataclasses.fields(section):
    hint = hints[field.name]
    if dataclasses.is_dataclass(hint):
      yield from keys(hint, f'{path}{field.name}.')
    else:
      default = field.default
      if default is dataclasses.MISSING:
        default = field.default_factory()
      kind = str(hint) if typing.get_args(hint) else hint.__name__
      yield path + field.name, kind, default, told.get(field.name, '')


def configuration() -> str:
  """Returns the page of all keys, by section."""
  lines = [
    '# Configuration keys',
    '',
    'A file in `configs/` sets some of these keys; each is a flag: `--config.prior.n_layers=16`.',
    'Defaults are those that a file starts from. Numbers without a unit are counts or factors.',
  ]
  rows = sorted(keys(Experiment), key=lambda row: row[0].count('.') > 0)  # stable
  section = None
  for path, kind, default, meaning in rows:
    head = path.rpartition('.')[0]
    if head != section:
      section = head
      title = f'`{head}`' if head else 'The experiment'
      lines += [
        '',
        f'## {title}',
        '',
        '| key | type | default | unit | meaning |',
        '|---|---|---|---|---|',
      ]
    name = path.rpartition('.')[2]
    unit = next((unit for unit, keys_of in UNITS.items() if name in keys_of), '')
    cells = [f'`{path}`', f'`{kind}`', f'`{default!r}`', unit, meaning]
    lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
  return '\n'.join(lines) + '\n'


def api() -> str:
  """Returns the page of the public names: signatures, docstrings, public methods."""
  lines = ['# Python interface', '', 'Without a module, a name is imported from `videogpt_jax`.']
  exported = {name: getattr(videogpt_jax, name) for name in videogpt_jax.__all__}
  for name, thing in (exported | {thing.__name__: thing for thing in RETURNED}).items():
    module = '' if name in exported else f' of `{thing.__module__}`'
    lines += ['', f'## `{name}`{module}', *_described(name, thing)]
    for method, function in inspect.getmembers(thing) if inspect.isclass(thing) else ():
      public = not method.startswith('_') and method in vars(thing)
      if public and inspect.isfunction(function):
        lines += ['', f'### `{name}.{method}`', *_described(method, function)]
      elif public and isinstance(function, property):
        lines += ['', f'### `{name}.{method}`', '', *_block(inspect.getdoc(function))]
  return '\n'.join(lines) + '\n'


def _described(name: str, thing: object) -> list[str]:
  if isinstance(thing, type) and issubclass(thing, Exception):
    return ['', *_block(inspect.getdoc(thing))]
  signature = f'{name}{inspect.signature(thing)}'
  return ['', '```python', signature, '```', '', *_block(inspect.getdoc(thing))]


def _block(doc: str | None) -> list[str]:
  return ['```text', *(doc or '').splitlines(), '```'] if doc else []
