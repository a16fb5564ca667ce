"""Texts as any program writes them: UTF-8, or what a mark at their beginning says."""

import codecs
from collections.abc import Sequence

_MARKS = {  # the longer ones first
  codecs.BOM_UTF32_LE: 'utf-32',
  codecs.BOM_UTF32_BE: 'utf-32',
  codecs.BOM_UTF16_LE: 'utf-16',
  codecs.BOM_UTF16_BE: 'utf-16',
}


def text_of(content: bytes, errors: str = 'strict') -> str:
  """Returns the text in a file; raises ValueError if it is none, or in no encoding that it says.

  Args:
    content: of the file.
    errors: of what is no UTF-8, as in `bytes.decode`.
  """
  encoding = next((_MARKS[mark] for mark in _MARKS if content.startswith(mark)), None)
  if encoding is None and b'\0' in content:
    raise ValueError('no text, or UTF-16 without a mark; save it as UTF-8')
  return content.decode(encoding) if encoding else content.decode('utf-8-sig', errors)


def delimiter(lines: Sequence[str]) -> str:
  """Returns what divides the cells of a table, by its first line."""
  return max(',;\t', key=(lines or [''])[0].count)


def readable(text: str) -> str:
  """Returns a text with bytes that are no UTF-8 taken for Western European ones (Windows-1252)."""
  content = text.encode('utf-8', 'surrogateescape')
  try:
    return content.decode()
  except UnicodeDecodeError:
    return content.decode('cp1252', 'replace')
