"""The address at which a page is served, and the names by which browsers may ask for it."""

import ipaddress
import socket

from videogpt_jax.errors import UserError


def listen(host: str, port: int) -> socket.socket:
  """Takes the address before anything is loaded.

  Raises:
    UserError: it is not this machine's, or taken.
  """
  listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((host, port))
  except (OSError, OverflowError) as error:
    why = getattr(error, 'strerror', None) or error
    raise UserError(
      f'cannot serve at {host}:{port}: {why}; choose another --host or --port'
    ) from None
  return listener


def names(host: str) -> list[str]:
  """Returns the names by which browsers may ask for the page."""
  try:
    local = ipaddress.ip_address(host).is_loopback
  except ValueError:
    local = host == 'localhost'
  return ['127.0.0.1', 'localhost', '::1'] if local else ['*']


def shown(host: str) -> str:
  """Returns an address as a browser takes it; one for all interfaces by the machine's name."""
  host = {'0.0.0.0': socket.gethostname(), '::': socket.gethostname()}.get(host, host)
  return f'[{host}]' if ':' in host else host
