"""Errors that a user can mend: entry points print them as one line and exit with status 1.

Everything else is a fault of the program or of the machine and keeps its traceback.
"""


class UserError(ValueError):
  """The user gave an impossible value; the message names the rule, the value and a remedy."""

  def _render_traceback_(self) -> list[str]:
    """Returns what a notebook shows of it (a method that IPython looks for): one line."""
    return [f'error: {" ".join(str(self).split())}']


class UserFileError(UserError, FileNotFoundError):
  """A file or folder that the user named is missing."""
