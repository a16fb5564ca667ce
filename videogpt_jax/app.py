"""Makes videos with a trained model, in a browser.

  python -m videogpt_jax.app --model=runs/demo
  python -m videogpt_jax.app --model=runs/demo --port=8080

The page has a control for each thing that the model can be asked for; see docs/sampling.md. It is
for this machine alone, unless --host names an address to serve it at. A model that can be played is
served at /play, too.
"""

import os
import tempfile
from collections.abc import Sequence

from absl import flags

from videogpt_jax import cli

_MODEL = cli.define_model()
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to serve the page at; 0.0.0.0 is all.')
_PORT = flags.DEFINE_integer('port', 8000, 'Port; 0 takes a free one.', 0, 65535)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax.server import address

  listener = address.listen(_HOST.value, _PORT.value)
  with tempfile.TemporaryDirectory() as folder:
    os.environ['GRADIO_TEMP_DIR'] = folder  # for uploads and results, which end with the command
    cli.announce_devices()
    served = make_app(_MODEL.value, address.names(_HOST.value))
    host, port = listener.getsockname()[:2]
    from videogpt_jax.server import web

    print(f'generate at http://{address.shown(host)}:{port}   (Ctrl-C ends)', flush=True)
    web.serve(served, listener)


def make_app(path: str, names: Sequence[str]):
  """Returns the web application of a model.

  Args:
    path: of the model, as for `load_videogpt`.
    names: by which browsers may ask for it.
  Raises:
    UserError: the model cannot be loaded, or its videos not be asked for by a page.
  """
  from videogpt_jax import load_videogpt, world
  from videogpt_jax.server import sampler, sampling_page, scenes, web  # Gradio before Starlette

  model, clips = load_videogpt(path), []
  plays = world.plays(model.generator)
  if plays or model.config.n_cond_frames or model.config.action_dim:
    clips = scenes.of_model(path)
  routes = []
  if plays:
    from videogpt_jax.sampling.settings import SamplingSettings
    from videogpt_jax.server import player

    routes = player.mounted(
      '/play', player.Player(model, [*clips, scenes.NOTHING], SamplingSettings())
    )
  served = web.application(routes, names)
  page = sampling_page.make_page(sampler.Sampler(model, clips), path, plays)
  sampling_page.mount(page, served)
  return served


if __name__ == '__main__':
  cli.start(main)
