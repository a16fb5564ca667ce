"""The public face: load a model, encode, decode, score and sample.

Every method is compiled once for each shape that it is called with.

Axis letters: B batch; n videos asked for; T H W frames, height, width; t h w latent grid;
K n_codes; E embedding_dim.
"""

import hashlib
import os

import jax
import jax.numpy as jnp
import numpy as np
from etils.epath import Path
from flax import nnx

from videogpt_jax.models.prior import CodeSpec, Prior
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.sampling.controls import make_controls
from videogpt_jax.sampling.loop import Decoded, decode

DECODE_BATCH = 8
"""Clips that are decoded to video at a time, which bounds the memory for activations."""


class Tokenizer:
  """A trained VQ-VAE: video to codes and back.

  Attributes:
    config: the VQVAEConfig.
    sequence_length, resolution: of the clips that it was trained on. Others are taken too, where
      the down-sampling divides them.
    latent_shape: (t, h, w) of such a clip, or (t, h, w, n_codebooks).
  """

  def __init__(self, vqvae: VQVAE, sequence_length: int, resolution: int):
    self.config = vqvae.config
    self.sequence_length, self.resolution = sequence_length, resolution
    self.latent_shape = vqvae.config.latent_shape(sequence_length, resolution)
    self.graphdef, self.state = nnx.split(vqvae)
    merge = lambda state: nnx.merge(self.graphdef, state)
    self._encode = jax.jit(lambda state, video: merge(state).encode(video))
    self._decode = jax.jit(lambda state, codes: merge(state).decode(codes))
    self._lookup = jax.jit(lambda state, codes: merge(state).codebook.lookup(codes))

  @property
  def spec(self) -> CodeSpec:
    """What a prior must know of the codes."""
    config = self.config
    return CodeSpec(
      self.latent_shape,
      config.n_codes,
      config.embedding_dim // config.n_codebooks,
      self.sequence_length,
      self.resolution,
    )

  @property
  def codebook(self) -> jax.Array:
    """The codes' vectors, float32 [n_codebooks K embedding_dim / n_codebooks]."""
    return nnx.merge(self.graphdef, self.state).codebook.embeddings[...]

  @property
  def codebook_sha256(self) -> str:
    """Tells the codes of this tokenizer from those of another."""
    return hashlib.sha256(np.ascontiguousarray(self.codebook).tobytes()).hexdigest()

  def encode(self, video: jax.Array) -> jax.Array:
    """Returns the codes of a video.

    Args:
      video: float32 [B T H W 3] in [-0.5, 0.5].
    Returns:
      int32 [B t h w], or [B t h w n_codebooks], in [0, K).
    Raises:
      ValueError: the shape is another, or the down-sampling does not divide it.
    """
    shape = np.shape(video)
    if len(shape) != 5 or shape[-1] != 3:
      raise ValueError(f'video has shape {shape}; it must be [B T H W 3]')
    if not jnp.issubdtype(jnp.result_type(video), jnp.floating):
      raise ValueError(
        f'video is {jnp.result_type(video)}; it must be float in [-0.5, 0.5]: video / 255 - 0.5'
      )
    for name, size, factor in zip(
      ('frames', 'height', 'width'), shape[1:4], self.config.downsample, strict=True
    ):
      if size % factor:
        raise ValueError(f"the video's {name} ({size}) must be divisible by downsample ({factor})")
    return self._encode(self.state, video)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Returns the video of codes int32 [B t h w]: float32 [B T H W 3], not clipped.

    Grids of another size than the trained one are decoded too.

    Raises:
      ValueError: the codes have not as many axes.
    """
    if np.ndim(codes) != len(self.latent_shape) + 1:
      raise ValueError(
        f'codes have shape {np.shape(codes)}; they must be [B, *{self.latent_shape}]'
      )
    return self._decode(self.state, codes)

  def lookup(self, codes: jax.Array) -> jax.Array:
    """Returns the vectors of codes int32 [B t h w]: float32 [B t h w E]."""
    return self._lookup(self.state, codes)


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
    self._logits = jax.jit(self._logits_fn)
    self._draw = jax.jit(self._draw_fn)
    self._videos = jax.jit(self._videos_fn)

  def logits(
    self,
    codes: jax.Array,
    class_label: jax.Array | None = None,
    frames: jax.Array | None = None,
    actions: jax.Array | None = None,
  ) -> jax.Array:
    """Returns the logits of every code given those before it, dropout off.

    Args:
      codes: int32 [B t h w].
      class_label: int32 [B], in [0, n_classes).
      frames: float32 [B n_cond_frames H W 3] in [-0.5, 0.5].
      actions: float32 [B T action_dim].
    Returns:
      float32 [B t h w K].
    Raises:
      ValueError: a condition is missing, superfluous or of another shape.
    """
    if np.shape(codes)[1:] != self.latent_shape:
      raise ValueError(
        f'codes have shape {np.shape(codes)}; they must be [B, *{self.latent_shape}]'
      )
    conditions = self._conditions(np.shape(codes)[0], class_label, frames, actions)
    return self._logits(self.state, self.vqvae.lookup(codes), *conditions)

  def draw(
    self,
    n: int,
    seed: int = 0,
    class_label: jax.Array | None = None,
    frames: jax.Array | None = None,
    actions: jax.Array | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
  ) -> Decoded:
    """Draws the codes of n videos; see `sample`. The result has their log-likelihood too."""
    return self._draw(
      *self._arguments(n, seed, class_label, frames, actions, temperature, top_k, top_p)
    )

  def compile(self, n: int, **kwargs):
    """Compiles what `draw` and `videos` run for these arguments, so that the first call is fast."""
    drawn = self._draw.lower(*self._arguments(n, **kwargs)).compile()
    place = drawn.output_shardings.codes
    codes = jax.ShapeDtypeStruct((n, *self.latent_shape), jnp.int32, sharding=place)
    self._videos.lower(self.vqvae.state, codes).compile()

  def _arguments(
    self,
    n,
    seed=0,
    class_label=None,
    frames=None,
    actions=None,
    temperature=1.0,
    top_k=None,
    top_p=None,
  ) -> tuple:
    """Checks the arguments of `draw` and turns them into those of the compiled function."""
    controls = make_controls(self.vqvae.config.n_codes, temperature, top_k, top_p)
    conditions = self._conditions(n, class_label, frames, actions)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))
    return self.state, self.vqvae.codebook, keys, controls, *conditions

  def sample_codes(self, n: int, seed: int = 0, **kwargs) -> jax.Array:
    """Draws the codes of n videos, int32 [n t h w]; the arguments are those of `sample`."""
    return self.draw(n, seed, **kwargs).codes

  def sample(
    self,
    n: int,
    seed: int = 0,
    class_label: jax.Array | None = None,
    frames: jax.Array | None = None,
    actions: jax.Array | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
  ) -> jax.Array:
    """Generates videos.

    Args:
      n: how many.
      seed: video i depends on the seed and i, and not on n.
      class_label: int32 [n], or one for all.
      frames: float32 [n n_cond_frames H W 3] in [-0.5, 0.5].
      actions: float32 [n T action_dim].
      temperature: divides the logits; 0 takes the most likely code at every step.
      top_k: only so many of the most likely codes remain, in [1, K].
      top_p: only the most likely codes that together reach this probability remain, in (0, 1].
    Returns:
      float32 [n T H W 3] in [0, 1].
    Raises:
      ValueError: a value is out of its range; a condition is missing, superfluous or misshapen.
    """
    codes = self.draw(n, seed, class_label, frames, actions, temperature, top_k, top_p).codes
    return self.videos(codes)

  def videos(self, codes: jax.Array) -> jax.Array:
    """Decodes codes int32 [n t h w] as `sample` does: float32 [n T H W 3] in [0, 1]."""
    return self._videos(self.vqvae.state, codes)

  def _conditions(self, n: int, class_label, frames, actions) -> tuple:
    """Checks the conditions, on the host and before any compiling."""
    if n < 1:
      raise ValueError(f'the number of videos ({n}) must be at least 1')
    if class_label is not None:
      class_label = np.broadcast_to(np.asarray(class_label, np.int32), (n,))
      n_classes = self.config.n_classes
      if n_classes and not 0 <= class_label.min() <= class_label.max() < n_classes:
        raise ValueError(
          f'class_label ({class_label.min()} to {class_label.max()}) must be in [0, {n_classes})'
        )
    conditions = (class_label, frames, actions)
    for name, value in zip(('class_label', 'frames', 'actions'), conditions, strict=True):
      if value is not None and len(value) != n:
        raise ValueError(f'{name} has {len(value)} entries for {n} videos; give one a video')
    jax.eval_shape(lambda c: nnx.merge(self.graphdef, self.state).condition(*c), conditions)
    return conditions

  def _logits_fn(self, state, embeddings, *conditions):
    prior = nnx.merge(self.graphdef, state)
    return prior(embeddings, prior.condition(*conditions))

  def _draw_fn(self, state, codebook, keys, controls, *conditions):
    prior = nnx.merge(self.graphdef, state)
    return decode(prior, codebook, prior.condition(*conditions), keys, controls)

  def _videos_fn(self, state, codes):
    vqvae = nnx.merge(self.vqvae.graphdef, state)
    video = jax.lax.map(lambda c: vqvae.decode(c[None])[0], codes, batch_size=DECODE_BATCH)
    return jnp.clip(video, -0.5, 0.5) + 0.5


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


def load_videogpt(path: str | os.PathLike) -> VideoGPT:
  """Loads a prior with its VQ-VAE; `path` is as for `load_vqvae`.

  Raises:
    FileNotFoundError: there is no such file, or no trained prior in the workdir.
    ValueError: the file is broken, no VideoGPT checkpoint, or holds only a VQ-VAE.
  """
  if Path(path).is_dir():
    from videogpt_jax import workdir

    return workdir.load_videogpt(Path(path))
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
