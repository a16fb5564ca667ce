"""What all entry points share: common flags, --help, errors in one line, exit codes.

_MODEL = cli.define_model()
_OUT = cli.required(flags.DEFINE_string('out', None, 'Folder for the videos.'), 'samples')

if __name__ == '__main__':
  cli.start(main)
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import re
import sys
import textwrap
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NoReturn

import jax
import jaxlib
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from videogpt_jax import machine, optional, shipped
from videogpt_jax.errors import UserError
from videogpt_jax.training.distributed import EXIT_INTERRUPTED, PreemptedError, refuse_others, stop

flags.disclaim_key_flags()  # a flag defined here belongs to the entry point that asks for it

MODEL = (
  "A run's workdir, an export, a published checkpoint, the name of a model that comes with the "
  'package or was published, or hf://OWNER/NAME.'
)
"""What `--model` takes, wherever a trained model is read."""

HELP = {'--help', '-help', '-h', '-?', '--helpshort'}

_required: list[tuple[Any, str]] = []
"""Flags that must be given, each with an example of its value."""


def required(flag: Any, example: str) -> Any:
  """Makes `start` refuse a call without `flag`; returns it.

  Args:
    flag: what a `DEFINE_` function or `define_model` returned.
    example: of its value, for the message.
  """
  _required.append((flag, example))
  return flag


def define_config(
  help: str = 'A file, or a name in configs/; --config.SECTION.KEY=VALUE overrides a key.',
  example: str | None = 'configs/demo.py',
) -> flags.FlagHolder:
  """Defines --config, whose keys --help lists; it may be left out if there is no example."""
  flag = config_flags.DEFINE_config_file('config', None, help)
  return required(flag, example) if example else flag


def define_drawing() -> list[flags.FlagHolder]:
  """Defines the flags that say how codes are drawn, as `SamplingSettings` names them."""
  return [
    flags.DEFINE_float('temperature', 1.0, 'Divides the logits; 0 is greedy.'),
    flags.DEFINE_integer('top_k', None, 'Draw from this many of the most likely codes.'),
    flags.DEFINE_float(
      'top_p', None, 'Draw from the most likely codes that together reach this probability.'
    ),
    flags.DEFINE_float(
      'guidance', 1.0, 'Classifier-free guidance; needs a prior trained with prior.cond_dropout.'
    ),
  ]


class ModelFlag:
  """--model and its aliases.

  Attributes:
    name: 'model'.
    present: how often one of them was given.
    value: the path or name that was given, or None (UserError: two of them differ).
  """

  def __init__(self, help: str, aliases: Sequence[str]):
    self.name = 'model'
    self._flags = [flags.DEFINE_string('model', None, help)]
    self._flags += [flags.DEFINE_string(alias, None, 'The same as --model.') for alias in aliases]

  @property
  def present(self) -> int:
    return sum(flag.present for flag in self._flags)

  @property
  def value(self) -> str | None:
    given = {flag.name: flag.value for flag in self._flags if flag.value}
    if len(set(given.values())) > 1:
      named = ' and '.join(f'--{name}={value}' for name, value in given.items())
      raise UserError(f'{named} name different models; give one of them')
    return next(iter(given.values()), None)


def define_model(
  help: str = MODEL,
  example: str | None = 'doom',
  aliases: Sequence[str] = ('workdir',),
) -> ModelFlag:
  """Defines --model and its aliases; they may be left out if there is no example."""
  flag = ModelFlag(help, aliases)
  return required(flag, example) if example else flag


def start(main: Callable[[Sequence[str]], None], processes: Literal['one', 'many'] = 'one'):
  """Runs an entry point.

  A UserError ends it with one line and status 1, a preemption with status 75, and an interruption
  with 130. Every other exception keeps its traceback.

  Args:
    main: takes the command line that is left after the flags.
    processes: 'many' if several processes may run it together; it then calls
      `training.distributed.start` itself. 'one' refuses an environment that names several.
  """
  machine.speed_up_cpu(jaxlib.__version__)
  machine.keep_compiled(jaxlib.__version__)
  machine.slim_tensorflow()
  absl_logging.set_verbosity(absl_logging.ERROR)  # of the libraries; the package prints progress
  _show_own_messages()

  def guarded(argv):
    try:
      if len(argv) > 1:
        raise UserError(f'unexpected argument {argv[1]!r}; flags begin with --')
      if processes == 'one':
        refuse_others(_program())
      _check_required()
      main(argv)
    except UserError as error:
      _stop(error)
    except PreemptedError as notice:
      print(notice, file=sys.stderr)
      if notice.step is not None:  # all processes have stopped at it
        stop()
      _exit_now(notice.status)
    except KeyboardInterrupt:
      print('interrupted; the same command resumes from the last checkpoint', file=sys.stderr)
      _exit_now(EXIT_INTERRUPTED)
    except Exception as error:
      if isinstance(error, ModuleNotFoundError) and (told := optional.explain(error)):
        _stop(told)
      if not jax.distributed.is_initialized():
        raise
      traceback.print_exc()
      _exit_now(1)

  app.run(guarded, flags_parser=_parse)


def announce_devices():
  """Prints what JAX runs on, once for all processes, and warns if an accelerator stays idle."""
  if jax.process_index() == 0:
    print(f'running on {jax.device_count()} x {jax.devices()[0].device_kind}', flush=True)
  if warning := machine.idle_accelerator(jax.default_backend()):
    print(f'warning: {warning}', file=sys.stderr, flush=True)


def _program() -> str:
  spec = sys.modules['__main__'].__spec__
  return spec.name.removesuffix('.__main__') if spec else pathlib.Path(sys.argv[0]).stem


def _check_required():
  missing = [(f'--{flag.name}', example) for flag, example in _required if not flag.value]
  if missing:
    names, verb = ' and '.join(name for name, _ in missing), 'are' if missing[1:] else 'is'
    example = ' '.join(f'{name}={value}' for name, value in missing)
    raise UserError(f'{names} {verb} missing; for example {example}')


def _show_own_messages():
  """Shows the package's own log, such as the recordings that are left out."""
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
  own = logging.getLogger('videogpt_jax')
  own.setLevel(logging.INFO)
  own.addHandler(handler)
  own.propagate = False


def _parse(argv: Sequence[str]) -> list[str]:
  program, *given = argv
  wants_help, left = not HELP.isdisjoint(given), []
  try:
    left = flags.FLAGS(_with_config_file([program, *(arg for arg in given if arg not in HELP)]))
    if 'config' in flags.FLAGS and flags.FLAGS.config is not None:
      flags.FLAGS.config.keys()  # raises what ml_collections has put off: the file is missing
  except Exception as error:
    if not wants_help:
      _stop(_flag_error(error))
  if wants_help:
    print(_help())
    sys.exit(0)
  return left


def _with_config_file(argv: Sequence[str]) -> list[str]:
  """Returns the command line with the path of a configuration for its name."""
  shipped.make_importable()
  argv = list(argv)
  for i, arg in enumerate(argv):
    flag, equals, value = arg.partition('=')
    if flag.lstrip('-') == 'config' and equals:
      argv[i] = f'{flag}={shipped.config_file(value)}'
    elif flag.lstrip('-') == 'config' and argv[i + 1 :]:
      argv[i + 1] = shipped.config_file(argv[i + 1])
  return argv


def _flag_error(error: Exception) -> str:
  """Returns what is wrong with the flags, or with the configuration file that they name."""
  if missing := re.search(r'Failed loading config file[^\]]*\]:\s+(.+)', str(error)):
    names = ', '.join(shipped.config_names())
    return f'--config: there is no file {missing[1]}; names are {names}'
  if isinstance(cause := error.__cause__, OSError):  # which ml_collections has put off
    reason = f'{cause.strerror}: {cause.filename}' if cause.filename else str(cause)
    return f'--config cannot be loaded: {reason}'
  libraries = ('/absl/', '/ml_collections/', '<frozen importlib')
  frames = [
    frame
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename != __file__ and not any(name in frame.filename for name in libraries)
  ]
  if frames:  # the file's own, of a class that ml_collections lets through
    return f'{frames[-1].filename}:{frames[-1].lineno}: {type(error).__name__}: {error}'
  if isinstance(error, AttributeError | KeyError):
    key = str(error).replace('\\n', ' ').replace('\\', '').replace("'", '').strip('"')
    return f'unknown configuration key {key}; --help lists all keys'
  # ml_collections wraps a file's ValueError or TypeError: a traceback, then class and message.
  return re.split(r'Traceback[\s\S]*\n[\w.]+: ', str(error))[-1]


def _help() -> str:
  """Returns the entry point's docstring, its flags and the keys of its configuration."""
  program = sys.modules['__main__']
  lines = [(program.__doc__ or '').strip(), '', 'Flags:']
  examples = {flag.name for flag, _ in _required}
  for flag in flags.FLAGS.get_key_flags_for_module(program):
    note = 'required' if flag.name in examples else f'default: {flag.default_as_str}'
    text = f'{flag.help} ({note})' if 'required' in note or flag.default is not None else flag.help
    lines += [
      f'  --{flag.name}',
      *textwrap.wrap(text, 94, initial_indent=' ' * 6, subsequent_indent=' ' * 6),
    ]
  if 'config' in flags.FLAGS:
    from videogpt_jax.config import Experiment, from_dict

    found, whose = Experiment(), 'defaults that configs/ start from'
    with contextlib.suppress(Exception):  # none is stated, or its faults are told without --help
      found, whose = from_dict(flags.FLAGS.config), 'values of this --config'
    lines += ['', f'Keys of the configuration, with the {whose}:']
    lines += [f'  --config.{key}={value}  ({kind})' for key, kind, value in _keys(found)]
  return '\n'.join(lines)


def _keys(section: Any, path: str = '') -> Iterator[tuple[str, str, Any]]:
  """Yields (key, type, value) of a configuration's sections."""
  hints = typing.get_type_hints(type(section))
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if dataclasses.is_dataclass(value):
      yield from _keys(value, f'{path}{field.name}.')
    else:
      hint = hints[field.name]
      kind = str(hint) if typing.get_args(hint) else hint.__name__
      yield f'{path}{field.name}', kind, value


def _stop(error: Exception | str) -> NoReturn:
  print('error: ' + ' '.join(str(error).split()), file=sys.stderr)
  if jax.distributed.is_initialized():
    _exit_now(1)  # an orderly end would wait for processes that may wait for this one
  sys.exit(1)


def _exit_now(status: int) -> NoReturn:
  """Ends without waiting for the libraries' threads or for other processes."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
