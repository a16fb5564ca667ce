"""A server of pages, on Starlette and uvicorn, that answers to its own names alone."""

import contextlib
import socket
from collections.abc import Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_MOST_MESSAGE = 2**16  # bytes of a browser's message over a WebSocket


class _OwnNames:
  """Refuses browsers that ask by another name: a page from elsewhere may be behind it."""

  def __init__(self, app: ASGIApp, names: Sequence[str]):
    self._app, self._names = app, names

  async def __call__(self, scope: Scope, receive: Receive, send: Send):
    hosts = Headers(scope=scope).getlist('host') if 'headers' in scope else []
    names = {host.rsplit(':', 1)[0].strip('[]') for host in hosts}
    if scope['type'] == 'lifespan' or '*' in self._names or (names and names <= {*self._names}):
      await self._app(scope, receive, send)
      return
    line = f'this page is served to {self._names[0]} alone; --host=ADDRESS serves it elsewhere'
    refusal = PlainTextResponse(line, 400) if scope['type'] == 'http' else WebSocketClose(1008)
    await refusal(scope, receive, send)


def application(routes: Sequence[BaseRoute], names: Sequence[str]) -> Starlette:
  """Returns the web application.

  Args:
    routes: what it serves.
    names: by which browsers may ask for it; ['*'] for any.
  """
  return Starlette(routes=list(routes), middleware=[Middleware(_OwnNames, names=names)])


def server(app: Starlette) -> uvicorn.Server:
  """Returns what serves an application, by `run(sockets=[...])`, until `should_exit` is set."""
  # Not what else may be installed, which ends in other ways.
  pure = {'loop': 'asyncio', 'http': 'h11'}
  return uvicorn.Server(uvicorn.Config(app, log_level='warning', ws_max_size=_MOST_MESSAGE, **pure))


def serve(app: Starlette, listener: socket.socket):
  """Serves an application until Ctrl-C."""
  with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again, having ended
    server(app).run(sockets=[listener])
