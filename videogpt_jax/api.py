"""The public face: load a model, encode, decode, score and sample.

Every method is compiled once for each shape that it is called with.

Axis letters: B batch; n videos asked for; T H W frames, height, width; t h w latent grid;
K n_codes; L codes of a clip.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils.epath import Path
from flax import nnx

from videogpt_jax.generation import Generation
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.sampling import checks
from videogpt_jax.sampling.loop import Decoded, decode
from videogpt_jax.sampling.request import Generated, Report, Request
from videogpt_jax.tokenizer import Tokenizer

DECODE_BATCH = 8
"""Clips that are decoded to video at a time, which bounds the memory for activations."""


class Layout(NamedTuple):
  """How a model lives on several devices; `stages.sample.place` makes it.

  Attributes:
    shares: of a batch, which devices draw side by side.
    place: tree of arrays -> the same where it belongs.
    wrap: function to be compiled -> the same with its activations placed.
    result: sharding of what comes out.
  """

  shares: int
  place: Callable[[Any], Any]
  wrap: Callable[[Callable], Callable]
  result: jax.sharding.Sharding


class VideoGPT:
  """A trained prior with its VQ-VAE.

  Attributes:
    vqvae: the Tokenizer.
    config: the PriorConfig.
    latent_shape: (t, h, w), or (t, h, w, n_codebooks).
  """

  def __init__(self, vqvae: Tokenizer, prior: Prior):
    self.vqvae = vqvae
    self.config = prior.config
    self.latent_shape = vqvae.latent_shape
    self.graphdef, self.state = nnx.split(prior)
    self.shares = 1
    self._logits = jax.jit(self._logits_fn)
    self._draw = jax.jit(self._draw_fn, static_argnums=0)
    self._videos = jax.jit(self._videos_fn)

  def place(self, layout: Layout):
    """Puts the model on several devices, which then share out what is sampled."""
    self.shares = layout.shares
    self.state, self.vqvae.state = layout.place(self.state), layout.place(self.vqvae.state)
    self._draw = jax.jit(layout.wrap(self._draw_fn), static_argnums=0, out_shardings=layout.result)
    self._videos = jax.jit(layout.wrap(self._videos_fn), out_shardings=layout.result)

  def logits(
    self,
    codes: jax.Array,
    class_label: jax.Array | None = None,
    frames: jax.Array | None = None,
    actions: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the logits of every code given those before it, dropout off.

    Args:
      codes: int32 [B t h w], in [0, K).
      class_label: int32 [B], in [0, n_classes).
      frames: float32 [B n_cond_frames H W 3] in [-0.5, 0.5].
      actions: float32 [B T action_dim].
    Returns:
      float32 [B t h w K].
    Raises:
      ValueError: a condition is missing, superfluous or of another shape; codes are not codes.
    """
    if np.shape(codes)[1:] != self.latent_shape:
      raise ValueError(
        f'codes have shape {np.shape(codes)}; they must be [B, *{self.latent_shape}]'
      )
    checks.check_codes('codes', codes, self.vqvae.config.n_codes)
    conditions = self._conditions(np.shape(codes)[0], class_label, frames, actions)
    return self._logits(self.state, self.vqvae.lookup(codes), *conditions)

  def sample(self, n: int, seed: int = 0, **settings) -> np.ndarray:
    """Generates videos: float32 [n T H W 3] in [0, 1].

    Args:
      n: how many.
      seed: video i depends on the seed and i, and not on n.
      **settings: class_label, frames, actions, temperature, top_k, top_p, guidance, best_of,
        prefix, goes_on_from, num_frames; see `sampling.request.Request`.
    Raises:
      ValueError: a value is out of its range; a condition is missing, superfluous or misshapen.
    """
    return self.generate(Request(n, seed, **settings)).video

  def sample_codes(self, n: int, seed: int = 0, **settings) -> jax.Array:
    """Draws the codes of n clips, int32 [n t h w]; the arguments are those of `sample`."""
    return jnp.asarray(Generation(self, Request(n, seed, **settings)).codes().codes)

  def generate(self, request: Request, report: Report | None = None) -> Generated:
    """Generates videos, with their codes and likelihoods; see `sample`.

    Args:
      request: what to make.
      report: whom to tell how far it is.
    """
    return Generation(self, request, report).run()

  def compile(self, request: Request, report: Report | None = None):
    """Compiles all that `generate` runs for this request, so that it starts at once."""
    Generation(self, request, report).compile()

  def videos(self, codes: jax.Array) -> jax.Array:
    """Decodes codes int32 [n t h w] as `sample` does: float32 [n T H W 3] in [0, 1]."""
    return self._videos(self.vqvae.state, codes)

  def draw(self, *arguments) -> Decoded:
    """Draws a clip for each key; the arguments are those of `_draw_fn` after the model's own."""
    return self._draw(*self._of_draw(*arguments))

  def lower(self, *arguments):
    """As `draw`, but returns the program, not compiled yet."""
    return self._draw.lower(*self._of_draw(*arguments))

  def lower_videos(self, codes):
    """As `videos`, but returns the program, not compiled yet."""
    return self._videos.lower(self.vqvae.state, codes)

  def _of_draw(self, report, keys, controls, given, *conditions) -> tuple:
    self._check_conditions(conditions)
    return report, self.state, self.vqvae.state, keys, controls, given, *conditions

  def _conditions(self, n: int, class_label, frames, actions) -> tuple:
    """Checks the conditions of n clips, on the host and before any compiling."""
    checks.check_request(
      Request(n, class_label=class_label, frames=frames, actions=actions),
      self.vqvae.spec,
      self.config,
    )
    if class_label is not None:
      class_label = checks.labels(class_label, n)
    self._check_conditions((class_label, frames, actions))
    return class_label, frames, actions

  def _check_conditions(self, conditions: tuple):
    jax.eval_shape(lambda c: nnx.merge(self.graphdef, self.state).condition(*c), conditions)

  def _logits_fn(self, state, embeddings, *conditions):
    prior = nnx.merge(self.graphdef, state)
    return prior(embeddings, prior.condition(*conditions))

  def _draw_fn(self, report, state, vqvae, keys, controls, given, *conditions) -> Decoded:
    """Draws a clip for each of `keys`.

    Args:
      report: told how many codes there are, or None; static.
      state: of the prior.
      vqvae: state of the VQ-VAE.
      keys: uint32 [n 2], data of PRNG keys.
      controls: how codes are drawn.
      given: int32 [n p], the first codes, or None.
      *conditions: class_label, frames, actions.
    """
    prior = nnx.merge(self.graphdef, state)
    codebook = nnx.merge(self.vqvae.graphdef, vqvae).codebook.embeddings[...]
    condition, keys = prior.condition(*conditions), jax.random.wrap_key_data(keys)
    return decode(prior, codebook, condition, keys, controls, given, report=report)

  def _videos_fn(self, state, codes):
    vqvae = nnx.merge(self.vqvae.graphdef, state)
    n = len(codes)
    at_once = min(-(-DECODE_BATCH // self.shares) * self.shares, n)
    codes = codes[jnp.minimum(jnp.arange(-(-n // at_once) * at_once), n - 1)]
    parts = codes.reshape(-1, at_once, *codes.shape[1:])
    video = jax.lax.map(vqvae.decode, parts)
    return jnp.clip(video.reshape(-1, *video.shape[2:])[:n], -0.5, 0.5) + 0.5


def load_vqvae(path: str | os.PathLike) -> Tokenizer:
  """Loads a VQ-VAE.

  Args:
    path: a workdir, a published checkpoint (`.ckpt` or `.safetensors`; a prior's has its VQ-VAE
      in it), or the name of a published model.
  Raises:
    FileNotFoundError: there is no such file, or no trained VQ-VAE in the workdir.
    ValueError: the file is broken, or no VideoGPT checkpoint.
  """
  if Path(path).is_dir():
    from videogpt_jax import workdir  # imports Orbax, which a published file does not need

    return workdir.load_tokenizer(Path(path))
  from videogpt_jax.interop import published

  return _tokenizer(published.load(path))


def load_videogpt(path: str | os.PathLike, mesh: jax.sharding.Mesh | None = None) -> VideoGPT:
  """Loads a prior with its VQ-VAE.

  Args:
    path: as for `load_vqvae`.
    mesh: devices to spread the prior of a workdir over as it is read, where none could hold all of
      it; by default one does. `stages.sample.place` then lets them share what is sampled.
  Raises:
    FileNotFoundError: there is no such file, or no trained prior in the workdir.
    ValueError: the file is broken, no VideoGPT checkpoint, or holds only a VQ-VAE.
  """
  if Path(path).is_dir():
    from videogpt_jax import workdir

    return workdir.load_videogpt(Path(path), mesh)
  from videogpt_jax.interop import published

  found = published.load(path)
  if found.prior is None:
    raise ValueError(f'{path} holds only a VQ-VAE; load it with load_vqvae')
  prior = nnx.eval_shape(lambda: Prior(found.prior, found.codes, rngs=nnx.Rngs(0)))
  nnx.update(prior, found.prior_state)
  return VideoGPT(_tokenizer(found), prior)


def _tokenizer(found) -> Tokenizer:
  vqvae = nnx.eval_shape(lambda: VQVAE(found.vqvae, rngs=nnx.Rngs(0)))
  nnx.update(vqvae, found.vqvae_state)
  return Tokenizer(vqvae, found.sequence_length, found.resolution)
