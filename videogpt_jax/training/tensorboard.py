"""TensorBoard events through clu, videos included. Imports TensorFlow."""

from collections.abc import Mapping

import numpy as np
from etils.epath import Path

from videogpt_jax import machine, media

machine.whole_tensorflow()  # clu imports a part of TensorBoard that needs Keras

from clu import metric_writers  # noqa: E402
from tensorboard.plugins.image import metadata  # noqa: E402

FPS = 8


class SummaryWriter(metric_writers.SummaryWriter):
  """clu's writer, which drops videos with a warning; this one writes them as animated GIFs."""

  def write_videos(self, step: int, videos: Mapping[str, np.ndarray]):
    """Writes videos uint8 [B T H W 3]; each batch becomes one grid under its name."""
    values, plugin = {}, {}
    for name, batch in videos.items():
      sheet = media.grid(media.enlarge(batch), columns=len(batch))
      gif = media.gif(sheet, FPS)
      height, width = sheet.shape[1:3]
      values[name] = np.array([str(width), str(height), gif], dtype=object)
      plugin[name] = metadata.create_summary_metadata(name, '', converted_to_tensor=True)
    self.write_summaries(step, values, plugin)


def open_writer(folder: Path) -> metric_writers.MetricWriter:
  """Returns a writer of events in `folder`, which writes in the background."""
  return metric_writers.AsyncWriter(SummaryWriter(str(folder)))
