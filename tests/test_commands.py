"""Every command of the pages is what the program takes, and is listed with its mark.

`python -m tests.test_commands` writes docs/commands.md anew; marks stay, and new commands are
"checked".
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from videogpt_jax.command import COMMANDS

PAGES = [Path('README.md'), Path('CONTRIBUTING.md'), *sorted(Path('docs').glob('*.md'))]
LIST = Path('docs/commands.md')
MARKS = ('run', 'checked', 'not run')

OURS = ('python -m videogpt_jax', 'python -m benchmarks', 'python data/', 'videogpt ', 'launch/')
OTHERS = ('make ', 'pip install ', 'jupytext ', 'jupyter-execute ')
"""How commands begin: those that are parsed, and others' programs."""

HEAD = """# Commands of these pages

Every command of the pages is listed here; `tests/test_commands.py` compares the two.
What each has seen:

- **run**: the file that is named runs the same program with the same flags, at its own sizes
  and in its own folders.
- **checked**: no test runs it. One parses it as the program does: module, flags, configuration
  and its keys.
- **not run**: needs what no test has, such as a bucket, accelerators or a data set. Where it is a
  program of this package, it is parsed all the same.

| page | command | mark | by |
|---|---|---|---|
"""


class Command(NamedTuple):
  page: str
  text: str


def commands(page):
  """Yields the commands of a page: indented or fenced lines, continued ones joined."""
  text = re.sub(r'\\\n\s*', '', page.read_text())
  for line in re.findall(r'^(?: {4,}|(?=\S))(\S.*)$', text, re.MULTILINE):
    line = re.sub(r'^(\$ |\.venv/bin/)', '', line)
    for part in re.split(r'\s+&&\s', re.split(r'\s+#\s', line)[0]):
      if part.startswith((*OURS, *OTHERS)):
        yield Command(page.name, part.strip())


FOUND = list(dict.fromkeys(c for page in PAGES if page != LIST for c in commands(page)))


def listed():
  """Returns (mark, evidence) by command, as the page of commands has them."""
  rows = re.findall(r'^\| (\S+) \| `(.+)` \| ([a-z ]+) \|(.*)\|$', LIST.read_text(), re.MULTILINE)
  return {Command(page, text): (mark, by.strip()) for page, text, mark, by in rows}


def module_of(words):
  """Returns what a command line starts, and its flags."""
  if words[0] == 'videogpt':
    name = COMMANDS[words[1]][0] if words[1] in COMMANDS else None
    return ('data/prepare.py' if words[1] == 'prepare' else f'videogpt_jax.{name}'), words[2:]
  if words[0] == 'launch/tpu_vm.sh':  # NAME TYPE ZONE WORKDIR, then the program's flags
    return 'videogpt_jax.main', words[5:]
  return (words[2], words[3:]) if words[1] == '-m' else (words[1], words[2:])


PARSE = """
import importlib, json, os, runpy, sys
import jax
from absl import flags
from videogpt_jax import cli, shipped
from videogpt_jax.config import from_dict
from videogpt_jax.stages import ablation, run, score  # which most programs import
shipped.make_importable()
for module, args in json.load(sys.stdin):
  if os.fork():
    status = os.wait()[1]
    print('' if not status else '!', flush=True)
    continue
  try:
    if module.endswith('.py'):
      runpy.run_path(module, run_name='commands')
    else:
      importlib.import_module(module if module != 'benchmarks' else 'benchmarks.__main__')
    args = [f'--config={shipped.config_file(a[9:])}' if a.startswith('--config=') else a
            for a in args]
    sys.argv = ['program', *args]  # where ml_collections looks for keys
    left = flags.FLAGS(sys.argv)
    assert not left[1:], f'unexpected {left[1:]}'
    if any(a.startswith('--config=') for a in args):
      from_dict(flags.FLAGS.config)
  except BaseException as error:
    print(f'{type(error).__name__}: {error}'.replace(chr(10), ' '), end=' ', flush=True)
    os._exit(1)
  os._exit(0)
"""
"""Parses command lines as the programs do, each in a process of its own."""


def parsed(lines):
  """Returns what is wrong with each command line; '' for nothing."""
  calls = json.dumps([module_of(shlex.split(line)) for line in lines])
  done = subprocess.run(
    [sys.executable, '-c', PARSE], input=calls, capture_output=True, text=True, check=True
  )
  found = done.stdout.splitlines()
  assert len(found) == len(lines), done.stderr
  return [line.strip() for line in found]


def is_ours(command):
  return command.text.startswith(OURS)


def test_every_command_is_parsed_by_its_program():
  lines = [command.text for command in FOUND if is_ours(command)]
  assert len(lines) > 30
  wrong = {line: told for line, told in zip(lines, parsed(lines), strict=True) if told}
  assert not wrong


def test_a_wrong_command_is_noticed():
  main = 'python -m videogpt_jax.main'
  right, *wrong = parsed(
    [
      f'{main} --config=demo --config.prior.n_layers=2',
      f'{main} --config=demo --config.prior.n_layer=2',
      f'{main} --config=demo --worker=2',
      f'{main} --config=configs/none.py',
      f'{main} --config=demo --config.prior.n_heads=5',
      'python -m videogpt_jax.mane --config=demo',
      f'{main} demo',
    ]
  )
  assert right == '' and all(told.endswith('!') for told in wrong), wrong


def test_every_make_target_exists():
  targets = set(re.findall(r'^([\w-]+):', Path('Makefile').read_text(), re.MULTILINE))
  asked = {word for c in FOUND if c.text.startswith('make ') for word in c.text.split()[1:]}
  assert asked - targets == set()


def test_every_extra_exists():
  project = Path('pyproject.toml').read_text()
  for page in PAGES:
    for extra in re.findall(r"pip install '\.\[(\w+)\]'", page.read_text()):
      assert re.search(rf'^{extra} = \[', project, re.MULTILINE), (page, extra)


def test_every_command_is_listed_with_its_mark():
  assert list(listed()) == FOUND, 'python -m tests.test_commands writes the list anew'


def names(command):
  """Returns what a file must name to run a command: its module or target, flags, configuration."""
  words = command.text.split()
  if words[0] == 'make':
    return {'demo': ['configs/demo.py']}.get(words[1], [command.text])
  module, flags = module_of(words)
  config = re.findall(r'--config=(?:configs/)?(\w+)', command.text)
  return [Path(module).stem if '/' in module else module.rpartition('.')[2], *config] + [
    flag.partition('=')[0] for flag in flags if flag.startswith('--')
  ]


@pytest.mark.parametrize('command', [c for c, (mark, _) in listed().items() if mark == 'run'])
def test_what_is_marked_as_run_names_a_file_that_runs_it(command):
  text = Path(listed()[command][1].strip('`')).read_text()
  assert [name for name in names(command) if name not in text] == []


def test_marks_are_known_and_what_is_not_run_says_what_it_needs():
  for mark, by in listed().values():
    assert mark in MARKS and bool(by) == (mark != 'checked')


if __name__ == '__main__':
  old = listed()
  rows = [(*c, *old.get(c, ('checked', ''))) for c in FOUND]
  LIST.write_text(HEAD + ''.join(f'| {p} | `{t}` | {m} | {b} |\n' for p, t, m, b in rows))
