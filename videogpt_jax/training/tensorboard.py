"""TensorBoard events through clu, videos included. Imports TensorFlow."""

import contextlib
import logging
import sys
import types
from collections.abc import Mapping

import numpy as np
from etils.epath import Path

from videogpt_jax import media
from videogpt_jax.training import failures

# clu imports TensorBoard's hyper-parameters, and they a callback for Keras: 80 MB that nobody uses.
_callback = types.ModuleType('tensorboard.plugins.hparams._keras')
_callback.Callback = None
sys.modules.setdefault(_callback.__name__, _callback)

from clu import metric_writers  # noqa: E402
from tensorboard.plugins.image import metadata  # noqa: E402

log = logging.getLogger(__name__)


class SummaryWriter(metric_writers.SummaryWriter):
  """clu's writer, which drops videos with a warning; this one writes them as animated GIFs."""

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Writes videos uint8 [B T H W 3]; each batch becomes one grid under its name."""
    values, plugin = {}, {}
    for name, batch in videos.items():
      sheet = media.grid(media.enlarge(batch), columns=len(batch))
      gif = media.gif(sheet, media.PREVIEW_FPS)
      height, width = sheet.shape[1:3]
      values[name] = np.array([str(width), str(height), gif], dtype=object)
      plugin[name] = metadata.create_summary_metadata(name, '', converted_to_tensor=True)
    self.write_summaries(step, values, plugin)


class Writer:
  """Writes events in a folder, in the background.

  A write that fails, as on a full disk, is told of once. Nothing is written after it, and the run
  goes on.
  """

  def __init__(self, folder: Path):
    self._folder, self._writer = folder, None
    self._quiet = failures.quiet('clu')
    self._quiet.__enter__()
    with self._told():
      self._writer = metric_writers.AsyncWriter(SummaryWriter(str(folder)))

  @contextlib.contextmanager
  def _told(self):
    try:
      yield
    except Exception as error:  # of TensorFlow's file systems, or of the background thread
      self._writer = None
      reason = ' '.join(str(error.__cause__ or error).split())[:200]
      log.warning('events cannot be written to %s any more (%s)', self._folder, reason)

  def write_scalars(self, step: int, scalars: Mapping[str, float]):
    """Writes numbers."""
    if self._writer:
      with self._told():
        self._writer.write_scalars(step, scalars)

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Writes videos uint8 [B T H W 3]."""
    if self._writer:
      with self._told():
        self._writer.write_videos(step, videos)

  def close(self, failed: bool = False):
    """Waits for what is being written."""
    del failed  # which events have no word for
    if self._writer:
      with self._told():
        self._writer.close()
    self._quiet.__exit__(None, None, None)
