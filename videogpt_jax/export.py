"""Writes a trained model as a folder to give away, which every --model takes, and the hub.

  python -m videogpt_jax.export --model=runs/demo --out=exported
  python -m videogpt_jax.export --model=runs/demo --dtype=bfloat16 --push=hf://OWNER/NAME

The folder holds model.safetensors, config.json, train_config.json, README.md (the card), the run's
samples.gif and some held-out clips for priors that take frames or actions or can be played.
"""

import pathlib
import tempfile
from collections.abc import Sequence

from absl import flags

from videogpt_jax import cli
from videogpt_jax.errors import UserError

_MODEL = cli.define_model()
_OUT = flags.DEFINE_string('out', None, 'Folder to write; an earlier export in it is replaced.')
_DTYPE = flags.DEFINE_enum(
  'dtype',
  'float32',
  ['float32', 'bfloat16'],
  'Type of the stored weights; bfloat16 halves the file and rounds.',
)
_STARTS = flags.DEFINE_integer(
  'starts',
  8,
  'Held-out clips to bring, where the prior takes frames or actions or can be played; 0: none.',
  lower_bound=0,
  upper_bound=1024,
)
_LICENSE = flags.DEFINE_string(
  'license',
  None,
  'Licence of the weights, for the card; by default that of the card that the model came with, or '
  'apache-2.0.',
)
_DATA = flags.DEFINE_string(
  'data', None, "Text file about the data, for the card; by default the data set's in data/cards."
)
_PUSH = flags.DEFINE_string(
  'push', None, 'Uploads the folder to hf://OWNER/NAME, too; a new repository is private.'
)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax import bundle, hub
  from videogpt_jax.files import check_folder

  if not (_OUT.value or _PUSH.value):
    raise UserError('--out or --push is missing; for example --out=exported')
  if _PUSH.value:
    hub.parts(_PUSH.value)  # before any work
  options = bundle.Options(_DTYPE.value, _STARTS.value, _LICENSE.value or '', _DATA.value or '')
  with tempfile.TemporaryDirectory() as temporary:
    out = pathlib.Path(_OUT.value or temporary)
    check_folder('--out', out)
    for file in bundle.export(_MODEL.value, out, options):
      print(f'wrote {file} ({file.stat().st_size:,} bytes)')
    if _PUSH.value:
      print(f'pushed to {hub.push(out, _PUSH.value)}')


if __name__ == '__main__':
  cli.start(main)
