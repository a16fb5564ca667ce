"""What all entry points share: errors in one line, and fast products on CPU."""

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags
from absl import logging as absl_logging

from videogpt_jax.planning.environment import describe_missing_tpu
from videogpt_jax.training.distributed import EXIT_PREEMPTED, PreemptedError, stop

CPU_FLAG = '--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT'
"""XLA's CPU backend then takes a faster library for products and 2-D convolutions (up to twice as
fast here). Known to jaxlib 0.10 and 0.11, which requirements.txt asks for."""


def start(main: Callable[[Sequence[str]], None]):
  """Runs an entry point; a ValueError or an OSError ends it with one line and status 1."""
  flags_given = os.environ.get('XLA_FLAGS', '')
  if 'xla_cpu_experimental_ynn_fusion_type' not in flags_given:
    os.environ['XLA_FLAGS'] = f'{flags_given} {CPU_FLAG}'.strip()
  describe_missing_tpu()
  # TensorFlow only reads clips here; without these it greets at start-up.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  absl_logging.set_verbosity(absl_logging.ERROR)  # of the libraries; progress is printed
  _show_own_messages()

  def guarded(argv):
    if len(argv) > 1:
      _stop(f'unexpected argument {argv[1]!r}; flags begin with --')
    try:
      main(argv)
    except (ValueError, OSError) as error:
      _stop(error)
    except PreemptedError as notice:
      print(notice, file=sys.stderr)
      stop()
      _exit_now(EXIT_PREEMPTED)
    except KeyboardInterrupt:
      print('interrupted; the same command goes on from the last checkpoint', file=sys.stderr)
      _exit_now(130)

  app.run(guarded, flags_parser=_parse)


def _show_own_messages():
  """What the package itself has to say: which recordings are left out, for example."""
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
  own = logging.getLogger('videogpt_jax')
  own.setLevel(logging.INFO)
  own.addHandler(handler)
  own.propagate = False


def _parse(argv: Sequence[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as error:  # ml_collections, of a key that is not there
    text = str(error).replace('\\n', ' ').replace('\\', '').replace("'", '').strip('"')
    _stop(f'unknown configuration key {text}; the keys are those of videogpt_jax/config.py')
  except (flags.Error, ValueError, TypeError, OSError, SyntaxError) as error:
    # ml_collections wraps what a configuration file raises: traceback, then class and message.
    _stop(re.split(r'Traceback[\s\S]*\n\w+: ', str(error))[-1])


def _stop(error: Exception | str):
  print('error: ' + ' '.join(str(error).split()), file=sys.stderr)
  if jax.distributed.is_initialized():
    _exit_now(1)  # an orderly end would wait for the other processes, which may wait for this one
  sys.exit(1)


def _exit_now(status: int):
  """Everything is closed by now; threads of the libraries must not outlive the interpreter."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)
