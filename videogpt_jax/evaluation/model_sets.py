"""Sets of clips that a trained model is scored by: real clips, reconstructions, samples.

The model is used through few methods: `encode` and `decode` of a tokenizer; `sample`, `config`,
`digest` and `vqvae` of a generator.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from videogpt_jax.evaluation import model_clips, protocols
from videogpt_jax.evaluation.clip_sets import ArrayClips
from videogpt_jax.evaluation.compare import ClipSets
from videogpt_jax.models.conditioners import from_batch, wanted
from videogpt_jax.pixels import to_model_range
from videogpt_jax.sampling.settings import SamplingSettings

Batches = Iterable[Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Drawing:
  """How samples are drawn.

  Attributes:
    protocol: number of samples.
    settings: how codes are drawn, as the generator's `sample` takes them.
    seed: of the samples and of the choice of real clips.
    batch_size: clips at a time.
    compared: see protocols.draw.
  """

  protocol: protocols.Protocol
  settings: SamplingSettings = dataclasses.field(default_factory=SamplingSettings)
  seed: int = 0
  batch_size: int = 16
  compared: bool = True


def tokenizer_sets(tokenizer: Any, batches: Batches, drawing: Drawing) -> ClipSets:
  """Returns real clips and their reconstructions.

  Args:
    tokenizer: `encode` and `decode`.
    batches: of the real clips, see model_clips.collect.
    drawing: number of clips.
  """
  real = _real(batches, drawing)
  return ClipSets(
    _clips(real['video'], drawing), reconstructions=_reconstructions(tokenizer, real, drawing)
  )


def generator_sets(
  model: Any, batches: Batches, drawing: Drawing, folder: pathlib.Path
) -> ClipSets:
  """Returns real clips, samples, and reconstructions where the protocol compares sets.

  A conditional sample gets the conditions (frames, class, actions) of the real clip that its trial
  compares it with, as in the paper.

  Args:
    model: the generator.
    batches: of the real clips, see model_clips.collect; with the entries that the model's
      conditioners take.
    drawing: number of samples, and how they are drawn.
    folder: holds the samples, so that an interrupted call resumes.
  """
  real, protocol = _real(batches, drawing), drawing.protocol
  n_samples = protocol.n_samples or len(real['video'])
  drawn = protocols.draw(protocol, n_samples, len(real['video']), drawing.seed, drawing.compared)
  plan = model_clips.SamplingPlan(
    drawn.conditions.reshape(-1),
    f'{model.digest} {json.dumps(dataclasses.asdict(drawing.settings))}',
    _digest(from_batch(real, model.config)),
    drawing.seed,
    drawing.batch_size,
  )

  def draw(seed: int, batch: model_clips.Arrays) -> np.ndarray:
    batch = batch | {'video': to_model_range(batch['video'])}
    conditions = from_batch(batch, model.config)
    return model.sample(
      len(batch['video']), seed=seed, conditions=conditions, settings=drawing.settings
    )

  samples = model_clips.draw_samples(draw, real, plan, folder / 'samples.npy')
  return ClipSets(
    reference=_clips(real['video'], drawing),
    samples=ArrayClips(samples, origin='samples of the model'),
    reconstructions=_reconstructions(model.vqvae, real, drawing) if protocol.compares else None,
    classes=real['label'][plan.order] if model.config.n_classes else None,
    n_given=model.config.n_cond_frames,
    conditional=bool(wanted(model.config)),
  )


def _digest(conditions: Mapping[str, np.ndarray]) -> str:
  """Returns a SHA-256 of conditions; '' for none."""
  if not conditions:
    return ''
  digest = hashlib.sha256()
  for name, values in conditions.items():
    digest.update(f'{name} {values.shape} {values.dtype}'.encode())
    digest.update(np.ascontiguousarray(values).tobytes())
  return digest.hexdigest()


def _real(batches: Batches, drawing: Drawing) -> model_clips.Arrays:
  protocol = drawing.protocol
  n_trials = max(protocol.n_trials if protocol.redraws else 1, 2)  # two sets for the floor
  return model_clips.collect(batches, protocol.n_clips * n_trials)


def _clips(video: np.ndarray, drawing: Drawing, of: str = '') -> ArrayClips:
  return ArrayClips(video, origin=f'{of}the {drawing.protocol.split} clips')


def _reconstructions(tokenizer, real: model_clips.Arrays, drawing: Drawing) -> ArrayClips:
  autoencode = lambda video: tokenizer.decode(tokenizer.encode(video))
  video = model_clips.reconstruct(autoencode, real['video'], drawing.batch_size)
  return _clips(video, drawing, 'reconstructions of ')
