"""A stand-in for the Hugging Face hub on this machine: what push and pull ask of it, and no more.

It keeps every commit of a repository in memory, and takes files as parts of the commit (the real
one takes large files apart from it).
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator

ROUTES = {
  ('POST', r'/api/repos/create'): 'create',
  ('POST', r'/api/validate-yaml'): 'validate',
  ('POST', r'/api/models/([^/]+/[^/]+)/preupload/([^/]+)'): 'preupload',
  ('POST', r'/api/models/([^/]+/[^/]+)/commit/([^/]+)'): 'commit',
  ('GET', r'/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?'): 'info',
  ('GET', r'/api/models/([^/]+/[^/]+)/tree/([^/]+)/?'): 'tree',
  ('GET', r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)'): 'resolve',
}


class Hub(http.server.ThreadingHTTPServer):
  """Repositories by name, each with its commits, by their digests, and branches.

  Attributes:
    commits: repository -> digest -> files by name.
    branches: repository -> branch -> digest.
    asked: method and path of every request.
    private: repositories that were made as private ones.
  """

  daemon_threads = True

  def __init__(self):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
    self.branches: dict[str, dict[str, str]] = {}
    self.asked: list[str] = []
    self.private: set[str] = set()

  @property
  def url(self) -> str:
    return f'http://127.0.0.1:{self.server_port}'

  def add(self, repository: str, files: dict[str, bytes], branch: str = 'main') -> str:
    """Makes a commit of files beside those of the branch, and returns its digest."""
    branches = self.branches.setdefault(repository, {})
    commits = self.commits.setdefault(repository, {})
    whole = commits.get(branches.get(branch, ''), {}) | files
    digest = hashlib.sha1(repr(sorted(whole.items())).encode()).hexdigest()
    commits[digest], branches[branch] = whole, digest
    return digest


class _Handler(http.server.BaseHTTPRequestHandler):
  server: Hub

  def log_message(self, *args):
    pass

  def do_GET(self):
    self._answer('GET')

  def do_HEAD(self):
    self._answer('GET')

  def do_POST(self):
    self._answer('POST')

  def _answer(self, method: str):
    path = self.path.partition('?')[0]
    self.server.asked.append(f'{self.command} {path}')
    self.body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
    for (verb, pattern), name in ROUTES.items():
      if verb == method and (found := re.fullmatch(pattern, path)):
        return getattr(self, f'_{name}')(*found.groups())
    self._refuse(404, 'EntryNotFound')

  def _send(self, content, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    self.send_response(200)
    for key, value in {'Content-Length': str(len(body)), **headers}.items():
      self.send_header(key.replace('_', '-'), value)
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)

  def _refuse(self, status: int, code: str):
    self.send_response(status)
    self.send_header('X-Error-Code', code)
    self.send_header('Content-Length', '0')
    self.end_headers()

  def _files(self, repository: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
    """Returns the digest and the files of a revision; or refuses and returns None."""
    if repository not in self.server.branches:
      return self._refuse(404, 'RepoNotFound')
    digest = self.server.branches[repository].get(revision or 'main', revision)
    if digest not in self.server.commits[repository]:
      return self._refuse(404, 'RevisionNotFound')
    return digest, self.server.commits[repository][digest]

  def _create(self):
    asked = json.loads(self.body)
    repository = f'{asked["organization"]}/{asked["name"]}'
    if asked.get('private') or asked.get('visibility') == 'private':
      self.server.private.add(repository)
    self.server.add(repository, {})
    self._send({'url': f'{self.server.url}/{repository}', 'name': repository})

  def _validate(self):
    self._send({'errors': [], 'warnings': []})

  def _preupload(self, repository: str, revision: str):
    if self._files(repository, revision):
      names = [file['path'] for file in json.loads(self.body)['files']]
      told = [{'path': x, 'uploadMode': 'regular', 'shouldIgnore': False} for x in names]
      self._send({'files': told})

  def _commit(self, repository: str, revision: str):
    lines = [json.loads(line) for line in self.body.splitlines()]
    parts = [line['value'] for line in lines if line['key'] == 'file']
    files = {part['path']: base64.b64decode(part['content']) for part in parts}
    digest = self.server.add(repository, files, revision)
    url = f'{self.server.url}/{repository}/commit/{digest}'
    self._send({'success': True, 'commitOid': digest, 'commitUrl': url, 'hookOutput': ''})

  def _info(self, repository: str, revision: str | None):
    if found := self._files(repository, revision):
      named = [{'rfilename': name} for name in found[1]]
      self._send({'id': repository, 'sha': found[0], 'tags': [], 'siblings': named})

  def _tree(self, repository: str, revision: str):
    if found := self._files(repository, revision):
      self._send(
        [
          {'type': 'file', 'path': name, 'size': len(x), 'oid': hashlib.sha1(x).hexdigest()}
          for name, x in found[1].items()
        ]
      )

  def _resolve(self, repository: str, revision: str, name: str):
    if found := self._files(repository, revision):
      digest, files = found
      if name not in files:
        return self._refuse(404, 'EntryNotFound')
      tag = hashlib.sha1(files[name]).hexdigest()
      self._send(files[name], ETag=f'"{tag}"', X_Repo_Commit=digest)


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
  """Serves a hub without repositories."""
  with Hub() as hub:
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    try:
      yield hub
    finally:
      hub.shutdown()
      thread.join()
