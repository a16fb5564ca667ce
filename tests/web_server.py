"""A page's server in a thread."""

import contextlib
import threading
import time

from videogpt_jax.server import address, web


@contextlib.contextmanager
def serving(app):
  """Yields an application's address, such as 127.0.0.1:8000."""
  listener = address.listen('127.0.0.1', 0)
  server = web.server(app)
  thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
  thread.start()
  while thread.is_alive() and not server.started:
    time.sleep(0.02)
  try:
    yield f'127.0.0.1:{listener.getsockname()[1]}'
  finally:
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
