"""The codes of a data set, which a prior trains on without running the encoder."""

import time

import jax.numpy as jnp
from etils.epath import Path

from videogpt_jax import pixels
from videogpt_jax.config import Experiment
from videogpt_jax.progress import ProgressLine
from videogpt_jax.tokenizer import Tokenizer

BATCH_SIZE = 16
"""Default number of clips that are encoded at a time."""


def encode(
  experiment: Experiment,
  tokenizer: Tokenizer,
  model: str,
  out: str,
  *,
  n_crops: int = 1,
  batch_size: int = BATCH_SIZE,
) -> dict[str, dict[str, int]]:
  """Encodes every clip of an experiment's data set to shards, or what is missing of them.

  Args:
    experiment: whose data set, conditions and seed are taken.
    tokenizer: that encodes.
    model: its name, for the record.
    out: folder of the shards, local or in a bucket.
    n_crops: random crops of each training clip.
    batch_size: clips to encode at a time.

  Returns:
    `clips` and `frames` (encoded crops), by split.

  Raises:
    OtherCodesError: `out` was begun with other settings.
    UserError: the data are missing or broken.
  """
  from videogpt_jax.input import code_shards  # TensorFlow, which only this needs

  line, begun = ProgressLine(), time.monotonic()

  def to_codes(video):  # 8-bit video is converted on the device
    return tokenizer.encode(pixels.to_model_range(jnp.asarray(video)))

  def progress(n_done, n):
    seconds = time.monotonic() - begun
    line.show(f'{n_done}/{n} clips encoded, {seconds:.0f} s', important=n_done == n)

  manifest = code_shards.write_codes(
    experiment.dataset,
    to_codes,
    out,
    n_crops=n_crops,
    n_cond_frames=experiment.prior.n_cond_frames,
    time_grid=tokenizer.spec.time_grid,
    history=experiment.prior.history,
    batch_size=batch_size,
    seed=experiment.seed,
    made_from={
      'model': model,
      'tokenizer_sha256': tokenizer.digest,
      'n_codes': tokenizer.spec.n_codes,
    },
    progress=progress,
  )
  line.close()
  return manifest.totals()


def in_workdir(experiment: Experiment, tokenizer: Tokenizer, path: Path) -> str:
  """Encodes `prior_crops` crops of each clip into a workdir; returns the folder.

  What other settings or another tokenizer have left there is made anew.
  """
  from videogpt_jax.input.code_shards import OtherCodesError

  out = path / 'codes'
  make = lambda: encode(experiment, tokenizer, path.name, str(out), n_crops=experiment.prior_crops)
  try:
    make()
  except OtherCodesError:
    out.rmtree()
    make()
  return str(out)
