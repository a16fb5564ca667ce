"""The command `videogpt`: one subcommand for each entry point.

  videogpt train --config=demo
  videogpt sample --model=runs/demo --out=videos

Each is `python -m videogpt_jax.NAME`, whose flags it takes; `videogpt NAME --help` lists them.
"""

import runpy
import sys

import videogpt_jax
from videogpt_jax import shipped

COMMANDS = {
  'train': ('main', 'trains, samples and evaluates; resumes what was interrupted'),
  'inspect': ('inspect_data', 'looks at a data set, and says what training will see'),
  'sample': ('sample', 'makes videos with a trained model'),
  'app': ('app', 'makes videos with a trained model, in a browser'),
  'play': ('play', 'plays a model in a browser'),
  'evaluate': ('evaluate', 'scores a model or a folder of videos'),
  'encode': ('encode', 'writes the codes of a data set'),
  'plan': ('plan', 'plans memory, time and cost of a slice, without one'),
  'ablate': ('ablate', "runs the paper's ablations"),
  'import': ('import_torch', 'reads a published PyTorch checkpoint'),
  'export': ('export', 'writes a model as a folder to give away, and to the Hugging Face hub'),
  'export-torch': ('export_torch', 'writes a PyTorch checkpoint'),
}
"""Subcommand -> entry point, and what it does."""


def main():
  """Runs a subcommand; without one, says which there are."""
  name, *flags = sys.argv[1:] or ['--help']
  if name in ('--version', 'version'):
    print(f'videogpt-jax {videogpt_jax.__version__}')
  elif name in ('--help', '-h', 'help'):
    print(_help())
  elif name == 'prepare':
    sys.argv = ['videogpt prepare', *flags]
    runpy.run_path(str(shipped.ROOT / 'data' / 'prepare.py'), run_name='__main__')
  elif name in COMMANDS:
    sys.argv = [f'videogpt {name}', *flags]
    runpy.run_module(f'videogpt_jax.{COMMANDS[name][0]}', run_name='__main__', alter_sys=True)
  else:
    sys.exit(f'error: unknown command {name!r}; videogpt alone lists the commands')


def _help() -> str:
  lines = ['videogpt COMMAND [flags]; videogpt COMMAND --help lists the flags.', '', 'Commands:']
  told = COMMANDS | {'prepare': ('', 'writes raw videos as shards')}
  lines += [f'  {name:12s} {what}' for name, (_, what) in told.items()]
  lines += ['', f'Configurations, for --config=NAME: {", ".join(shipped.config_names())}']
  lines += [
    '',
    'To begin: videogpt sample --model=doom --out=videos, or videogpt train --config=demo',
  ]
  return '\n'.join(lines)
