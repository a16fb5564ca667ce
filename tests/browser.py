"""A headless Chromium, driven through its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
import time
import urllib.request

import pytest
from websockets.sync.client import connect

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here')


class Browser:
  """A page.

  Attributes:
    faults: errors and warnings that its console has told.
    requests: addresses that it has asked for.
  """

  def __init__(self, socket):
    self._socket, self._ids, self.faults, self.requests = socket, itertools.count(1), [], []

  def send(self, method, **params):
    """Sends a command and returns its result."""
    number = next(self._ids)
    self._socket.send(json.dumps({'id': number, 'method': method, 'params': params}))
    while True:
      message = json.loads(self._socket.recv(timeout=60))
      if message.get('id') == number:
        assert 'error' not in message, message
        return message['result']
      self._note(message)

  def _note(self, message):
    params = message.get('params', {})
    if message.get('method') == 'Network.requestWillBeSent':
      self.requests.append(params['request']['url'])
    if message.get('method') == 'Runtime.exceptionThrown':
      self.faults.append(params['exceptionDetails'].get('exception', {}).get('description'))
    if message.get('method') == 'Log.entryAdded' and params['entry']['level'] in (
      'error',
      'warning',
    ):
      self.faults.append(params['entry']['text'])
    if message.get('method') == 'Runtime.consoleAPICalled' and params['type'] in (
      'error',
      'warning',
    ):
      self.faults.append(str(params['args']))

  def js(self, expression):
    """Evaluates JavaScript, promises included."""
    result = self.send(
      'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
    )
    assert 'exceptionDetails' not in result, result
    return result['result'].get('value')

  def wait(self, condition, seconds=60):
    """Waits until an expression is true."""
    end = time.monotonic() + seconds
    while not (value := self.js(condition)):
      assert time.monotonic() < end, f'{condition} is not true after {seconds} s; {self.faults}'
      time.sleep(0.05)
    return value

  def key(self, code, down):
    self.send('Input.dispatchKeyEvent', type='keyDown' if down else 'keyUp', code=code, key=code)

  def click(self, element):
    """Clicks, as a user does, on the element that an expression gives."""
    place = self.js(
      f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
      ' const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()'
    )
    at = {'x': place[0], 'y': place[1], 'button': 'left', 'clickCount': 1}
    for kind in ('mousePressed', 'mouseReleased'):
      self.send('Input.dispatchMouseEvent', type=kind, **at)

  def upload(self, selector, file: pathlib.Path):
    """Gives a file to an input."""
    root = self.send('DOM.getDocument')['root']['nodeId']
    node = self.send('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
    self.send('DOM.setFileInputFiles', nodeId=node, files=[str(file)])

  def screenshot(self, file: pathlib.Path):
    shot = self.send('Page.captureScreenshot', format='png')
    file.write_bytes(base64.b64decode(shot['data']))


@contextlib.contextmanager
def opened(url, folder, width=1000, height=800, dark=False):
  """Opens a page in a browser whose files are in `folder`."""
  command = [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-port=0']
  command += [f'--user-data-dir={folder}', f'--window-size={width},{height}', 'about:blank']
  log = pathlib.Path(folder) / 'log'
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('w') as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
    try:
      port_file = pathlib.Path(folder) / 'DevToolsActivePort'
      end = time.monotonic() + 60
      while not (port_file.exists() and port_file.read_text().count('\n')):
        assert time.monotonic() < end and process.poll() is None, log.read_text()
        time.sleep(0.05)
      port = port_file.read_text().split()[0]
      with urllib.request.urlopen(f'http://127.0.0.1:{port}/json/list') as answer:
        target = next(t for t in json.load(answer) if t['type'] == 'page')
      with connect(target['webSocketDebuggerUrl'], max_size=None) as socket:
        browser = Browser(socket)
        for domain in ('Runtime', 'Log', 'Page', 'Network'):
          browser.send(f'{domain}.enable')
        if dark:
          scheme = [{'name': 'prefers-color-scheme', 'value': 'dark'}]
          browser.send('Emulation.setEmulatedMedia', features=scheme)
        browser.send('Page.navigate', url=url)
        browser.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
        yield browser
    finally:
      process.terminate()
      process.wait(20)
