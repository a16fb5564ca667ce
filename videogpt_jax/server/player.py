"""The page in which a model is played, and its WebSocket.

A browser asks, and the server answers each question: frames are never sent ahead of a browser that
is slow to show them, and a browser that goes away ends its session.

    {"do": "begin", "scene": 0, "seed": 1, "engine": false}   -> a message of frames
    {"do": "step", "action": "MOVE_FORWARD"}                  -> a message of frames

A message of frames is binary: uint8, first the model's [f H W 3], then as many of the game if it
runs. A fault is answered with {"error": "..."}.
"""

import contextlib
import functools
import importlib.resources
import json
import secrets
from collections.abc import Sequence

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import (
  HTMLResponse,
  JSONResponse,
  PlainTextResponse,
  RedirectResponse,
  Response,
)
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from videogpt_jax import media, world
from videogpt_jax.errors import UserError
from videogpt_jax.sampling.settings import SamplingSettings
from videogpt_jax.server import engine, uploads
from videogpt_jax.server.scenes import Scene
from videogpt_jax.server.session import Session
from videogpt_jax.videogpt import VideoGPT

MOST_SESSIONS = 8
"""Browsers at a time."""

_MOST_TEXT = 4096  # characters of a question


class Player:
  """A model that browsers play.

  Attributes:
    sessions: those that are open, by a token that only their browser knows.
  """

  def __init__(self, model: VideoGPT, scenes: Sequence[Scene], settings: SamplingSettings):
    self._model, self._scenes, self._settings = model, scenes, settings
    self._game = engine.game_of(model)
    self.sessions: dict[str, Session] = {}

  def warm_up(self):
    """Compiles what a session runs, so that the first browser need not wait."""
    with contextlib.closing(self._session()) as session:
      session.begin(0, 0, engine=False)
      for _ in range(2):
        session.step(actions[0] if (actions := self._model.actions) else None)

  @property
  def _fps(self) -> float:
    return self._model.cut.frame_rate or world.FRAMES_A_SECOND

  def _session(self) -> Session:
    return Session(self._model, self._scenes, self._settings, self._game)

  def hello(self, token: str, session: Session) -> dict:
    """What the page must know."""
    height, width = session.frame_size
    return {
      'token': token,
      'height': height,
      'width': width,
      'fps': self._fps,
      'actions': list(self._model.actions),
      'scenes': [scene.name for scene in session.scenes],
      'classes': list(self._model.classes),
      'game': self._game,
    }

  async def connect(self, socket: WebSocket):
    """Serves one browser until it goes away."""
    if not _own_page(socket):
      await socket.close(1008)
      return
    await socket.accept()
    if len(self.sessions) >= MOST_SESSIONS:
      await socket.send_json({'error': f'{MOST_SESSIONS} browsers play already; close one'})
      await socket.close()
      return
    token, session = secrets.token_urlsafe(16), self._session()
    self.sessions[token] = session
    try:
      await socket.send_json(self.hello(token, session))
      while True:
        await self._answer(socket, session, await socket.receive_text())
    except (WebSocketDisconnect, RuntimeError, anyio.ClosedResourceError):
      pass  # the browser has gone away
    finally:
      del self.sessions[token]
      session.close()

  async def _answer(self, socket: WebSocket, session: Session, text: str):
    try:
      ask = functools.partial(_ask, session, text[:_MOST_TEXT])
      shown = await run_in_threadpool(ask)
    except UserError as error:
      await socket.send_json({'error': str(error)})
      return
    await socket.send_bytes(b''.join(frames.tobytes() for frames in shown))

  async def save(self, request: Request) -> Response:
    """Answers with the session's latest frames as an mp4."""
    session = self.sessions.get(request.path_params['token'])
    if session is None:
      return PlainTextResponse('this session has ended', 404)
    try:
      video = await run_in_threadpool(lambda: media.mp4(session.video(), self._fps))
    except UserError as error:
      return PlainTextResponse(str(error), 409)
    name = {'Content-Disposition': 'attachment; filename="played.mp4"'}
    return Response(video, media_type='video/mp4', headers=name)

  async def upload(self, request: Request) -> Response:
    """Takes a video or photo as a beginning: answers with its number among the scenes."""
    session = self.sessions.get(request.path_params['token'])
    if session is None:
      return PlainTextResponse('this session has ended', 404)
    try:
      content = await uploads.receive(request.stream())
      name = request.query_params.get('name', 'upload')
      frames = await run_in_threadpool(lambda: uploads.frames(content, name, self._model))
    except UserError as error:
      return JSONResponse({'error': str(error)}, 400)
    session.scenes.append(Scene(name[:80], frames))
    return JSONResponse({'scene': len(session.scenes) - 1, 'name': name[:80]})


def _ask(session: Session, text: str) -> list:
  """Answers a browser's question (UserError: it is none)."""
  try:
    question = json.loads(text)
    do, engine_too = question['do'], bool(question.get('engine'))
    numbers = [question.get(name, 0) for name in ('scene', 'seed')]
  except (ValueError, KeyError, TypeError, AttributeError):
    raise UserError('a question must be a JSON object with "do"') from None
  if do == 'begin':
    label = question.get('class')
    if not all(isinstance(x, int) for x in (*numbers, label or 0)):
      raise UserError('scene, seed and class must be whole numbers')
    return session.begin(*numbers, engine_too, label)
  if do == 'step':
    return session.step(question.get('action'))
  raise UserError(f'"do" ({do!r}) must be "begin" or "step"')


def _own_page(socket: WebSocket) -> bool:
  """Whether the page that asks came from this server: any page may open a socket to it."""
  origin = socket.headers.get('origin')
  return origin is None or origin.split('://')[-1] == socket.headers.get('host')


def routes(player: Player) -> list[BaseRoute]:
  """Returns the page and what it asks for, at addresses relative to where they are mounted."""
  page = importlib.resources.files('videogpt_jax.server').joinpath('play.html').read_text()
  return [
    Route('/', lambda request: HTMLResponse(page)),
    Route('/save/{token}', player.save),
    Route('/upload/{token}', player.upload, methods=['POST']),
    WebSocketRoute('/socket', player.connect),
  ]


def mounted(path: str, player: Player) -> list[BaseRoute]:
  """Returns the page at a path, such as '/play', beside other pages."""
  return [
    Route(path, lambda request: RedirectResponse(f'{path}/')),
    Mount(path, routes=routes(player)),
  ]
