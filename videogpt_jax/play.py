"""Plays a trained model in a browser: keys are its actions, and its frames follow them.

  python -m videogpt_jax.play --model=runs/doom
  python -m videogpt_jax.play --model=runs/doom --frames=start.mp4 --temperature=0.8 --port=8080

The model must be able to go on without an end; see docs/playing.md. The page is for this machine
alone, unless --host names an address to serve it at.
"""

from collections.abc import Sequence

from absl import flags

from videogpt_jax import cli

_MODEL = cli.define_model()
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to serve the page at; 0.0.0.0 is all.')
_PORT = flags.DEFINE_integer('port', 8000, 'Port; 0 takes a free one.', 0, 65535)
_FRAMES = flags.DEFINE_list(
  'frames', [], "Videos or photos to begin with; by default the run's held-out clips."
)
_DRAWING = cli.define_drawing()
_STRATEGY = flags.DEFINE_string(
  'strategy', 'auto', 'How codes follow one another: auto (sequential) or speculative.'
)


def main(argv: Sequence[str]):
  del argv
  from videogpt_jax.server import address

  listener = address.listen(_HOST.value, _PORT.value)
  from videogpt_jax import load_videogpt, world
  from videogpt_jax.sampling.settings import make_settings
  from videogpt_jax.server import player, scenes, web

  settings = make_settings({flag.name: flag.value for flag in (*_DRAWING, _STRATEGY)})
  cli.announce_devices()
  model = load_videogpt(_MODEL.value)
  world.check_plays(model.generator)
  settings.check(model.vqvae.spec.n_codes, model.config)
  found = scenes.of_files(_FRAMES.value, model) or scenes.of_model(_MODEL.value)
  played = player.Player(model, [*found, scenes.NOTHING], settings)
  print('compiling', flush=True)
  played.warm_up()
  host, port = listener.getsockname()[:2]
  print(f'play at http://{address.shown(host)}:{port}   (Ctrl-C ends)', flush=True)
  web.serve(web.application(player.routes(played), address.names(_HOST.value)), listener)


if __name__ == '__main__':
  cli.start(main)
