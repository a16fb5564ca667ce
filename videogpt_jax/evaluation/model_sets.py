"""The sets of clips that a trained model is scored by, on the held-out clips of its data.

The model is known here by what it does: `encode` and `decode` of a tokenizer; `sample`, `config`
(with `n_cond_frames`, `n_classes`, `action_dim`) and `vqvae` of a generator.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from videogpt_jax.evaluation import model_clips, protocols
from videogpt_jax.evaluation.clips import ArrayClips
from videogpt_jax.evaluation.evaluate import ClipSets


@dataclasses.dataclass(frozen=True)
class Drawing:
  """How samples are drawn.

  Attributes:
    protocol: how many.
    controls: `temperature`, `top_k` and `top_p`, as the generator's `sample` takes them.
    seed: of the samples and of the choice of real clips.
    batch_size: clips at a time.
    compared: see protocols.draw.
  """

  protocol: protocols.Protocol
  controls: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0
  batch_size: int = 16
  compared: bool = True


def tokenizer_sets(
  tokenizer: Any, batches: Iterable[Mapping[str, np.ndarray]], drawing: Drawing
) -> ClipSets:
  """Held-out clips and their reconstructions.

  Args:
    tokenizer: `encode` and `decode`.
    batches: of the held-out clips, see model_clips.collect.
    drawing: how many are looked at.
  """
  return _with_reconstructions(tokenizer, _held_out(batches, drawing), drawing)


def generator_sets(
  model: Any,
  batches: Iterable[Mapping[str, np.ndarray]],
  drawing: Drawing,
  folder: pathlib.Path,
) -> ClipSets:
  """Held-out clips, their reconstructions, and samples.

  A sample that is conditioned gets the frames, the class or the actions of the very clip that its
  trial compares it with, as in the paper.

  Args:
    model: the generator.
    batches: of the held-out clips, see model_clips.collect; with `label` and `actions` where the
      model is conditioned on them.
    drawing: how many samples, and how they are drawn.
    folder: where the samples are kept, so that an interrupted call goes on.
  """
  held_out = _held_out(batches, drawing)
  n_real = len(held_out['video'])
  n_samples = drawing.protocol.n_clips * drawing.protocol.n_trials or n_real
  drawn = protocols.draw(drawing.protocol, n_samples, n_real, drawing.seed, drawing.compared)
  plan = model_clips.SamplingPlan(
    drawn.reference.reshape(-1),
    f'{fingerprint(model)} {dict(drawing.controls)}',
    drawing.seed,
    drawing.batch_size,
  )

  def draw(seed: int, batch: model_clips.Arrays) -> np.ndarray:
    conditions = _conditions(model.config, batch)
    return model.sample(len(batch['video']), seed=seed, **conditions, **drawing.controls)

  samples = model_clips.draw_samples(draw, held_out, plan, folder / 'samples.npy')
  sets = _with_reconstructions(model.vqvae, held_out, drawing)
  return dataclasses.replace(sets, samples=ArrayClips(samples, origin='samples of the model'))


def fingerprint(model: Any) -> str:
  """A digest of a tokenizer's arrays, or a generator's with its tokenizer's."""
  digest, tokenizer = hashlib.sha256(), getattr(model, 'vqvae', None)
  for leaf in jax.tree.leaves((model.state, tokenizer.state if tokenizer else ())):
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()[:16]


def _held_out(batches, drawing: Drawing) -> model_clips.Arrays:
  protocol = drawing.protocol
  return model_clips.collect(batches, protocol.n_clips * protocol.n_trials)


def _with_reconstructions(tokenizer, held_out: model_clips.Arrays, drawing: Drawing) -> ClipSets:
  autoencode = lambda video: tokenizer.decode(tokenizer.encode(video))
  video = held_out['video']
  reconstructions = model_clips.reconstruct(autoencode, video, drawing.batch_size)
  return ClipSets(
    reference=ArrayClips(video, origin='held-out clips'),
    reconstructions=ArrayClips(reconstructions, origin='reconstructions of the held-out clips'),
  )


def _conditions(config: Any, batch: model_clips.Arrays) -> model_clips.Arrays:
  """What a generator of this configuration must be told of a batch of clips."""
  conditions = {}
  if config.n_cond_frames:
    conditions['frames'] = model_clips.from_uint8(batch['video'][:, : config.n_cond_frames])
  if config.n_classes:
    conditions['class_label'] = batch['label']
  if config.action_dim:
    conditions['actions'] = batch['actions']
  return conditions
