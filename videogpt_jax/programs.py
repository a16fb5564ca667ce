"""The pure programs of a trained model: encode, decode, look up, logits, draw.

Stages, scores, planning, benchmarks and the public face all call these. Each takes networks as
values, is compiled once for each shape, and runs on one device, or on the mesh that it is given.

Axis letters: B batch; n videos; T H W frames, height, width; t h w latent grid; K n_codes.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from videogpt_jax.models.conditioners import Conditions
from videogpt_jax.models.past import Past
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.trained import Trained
from videogpt_jax.models.vqvae import VQVAE
from videogpt_jax.sampling import stream as streams
from videogpt_jax.sampling.forward import Decoded
from videogpt_jax.sampling.logits import Controls
from videogpt_jax.sampling.strategies import STRATEGIES
from videogpt_jax.training.sharding import on_mesh

Kept = tuple[jax.Array, ...] | None
"""What a causal tokenizer keeps between the pieces of a video, see `Past.kept`."""

DECODE_BATCH = 8
"""Clips that are decoded to video at a time, which bounds the memory for activations."""


def at_once(n: int, shares: int) -> int:
  """Returns how many of n clips are decoded at a time, divided among so many devices."""
  return min(-(-DECODE_BATCH // shares) * shares, n)


def _program(*static: str, donated: tuple[int, ...] = ()) -> Callable[[Callable], Callable]:
  """Compiles a function, giving it the static keyword `mesh`.

  Activations are then shared by the mesh's devices, and results are whole on each of them. The
  memory of `donated` arguments is used for results.
  """

  def compiled(f: Callable) -> Callable:
    @functools.wraps(f)
    def run(*args, mesh: Mesh | None = None, **kwargs):
      if mesh is None or mesh.size == 1:
        return f(*args, **kwargs)
      result = on_mesh(f, mesh)(*args, **kwargs)
      return jax.lax.with_sharding_constraint(result, NamedSharding(mesh, PartitionSpec()))

    del run.__wrapped__  # whose signature, without `mesh`, jit would look at
    return jax.jit(run, static_argnames=('mesh', *static), donate_argnums=donated)

  return compiled


@_program()
def encode(vqvae: Trained[VQVAE], video: jax.Array) -> jax.Array:
  """Returns the codes int32 [B t h w] of video float32 [B T H W 3] in [-0.5, 0.5]."""
  return vqvae.module().encode(video)


@_program()
def decode(vqvae: Trained[VQVAE], codes: jax.Array) -> jax.Array:
  """Returns the video float32 [B T H W 3], not clipped, of codes int32 [B t h w]."""
  return vqvae.module().decode(codes)


@_program()
def encode_piece(vqvae: Trained[VQVAE], video: jax.Array, kept: Kept) -> tuple[jax.Array, Kept]:
  """Returns the codes int32 [B t h w] of the next piece of a video, and what the next one needs.

  Args:
    vqvae: a causal tokenizer.
    video: float32 [B T H W 3] in [-0.5, 0.5]; frames that fill latent frames.
    kept: of the piece before; None for the first piece.
  """
  past = Past(kept)
  return vqvae.module().encode(video, past), tuple(past.kept)


@_program()
def decode_piece(vqvae: Trained[VQVAE], codes: jax.Array, kept: Kept) -> tuple[jax.Array, Kept]:
  """Returns the video float32 [B T H W 3], not clipped, of the next codes; see `encode_piece`."""
  past = Past(kept)
  return vqvae.module().decode(codes, past), tuple(past.kept)


@_program()
def lookup(vqvae: Trained[VQVAE], codes: jax.Array) -> jax.Array:
  """Returns the vectors float32 [B t h w E] of codes int32 [B t h w]."""
  return vqvae.module().codebook.lookup(codes)


@_program('shares')
def videos(vqvae: Trained[VQVAE], codes: jax.Array, *, shares: int = 1) -> jax.Array:
  """Decodes generated codes int32 [n t h w], a few clips at a time: float32 [n T H W 3] in [0, 1].

  Args:
    vqvae: the tokenizer.
    codes: of the clips.
    shares: among how many groups of devices clips are divided; static.
  """
  n = len(codes)
  each = at_once(n, shares)
  codes = codes[jnp.minimum(jnp.arange(-(-n // each) * each), n - 1)]
  parts = codes.reshape(-1, each, *codes.shape[1:])
  video = jax.lax.map(vqvae.module().decode, parts)
  return jnp.clip(video.reshape(-1, *video.shape[2:])[:n], -0.5, 0.5) + 0.5


@_program()
def logits(
  prior: Trained[Prior], vqvae: Trained[VQVAE], codes: jax.Array, conditions: Conditions
) -> jax.Array:
  """Returns the teacher-forced logits float32 [B t h w K], dropout off.

  Args:
    prior: the prior.
    vqvae: its tokenizer.
    codes: int32 [B t h w].
    conditions: by name, [B ...] each.
  """
  module = prior.module()
  embeddings = vqvae.module().codebook.lookup(codes)
  return module(embeddings, module.condition(conditions))


@_program('strategy', 'passes', 'with_logits')
def draw(
  prior: Trained[Prior],
  vqvae: Trained[VQVAE],
  keys: jax.Array,
  controls: Controls,
  conditions: Conditions,
  given: jax.Array | None = None,
  *,
  strategy: str = 'sequential',
  passes: int = 0,
  with_logits: bool = False,
) -> Decoded:
  """Draws the codes of a clip for each key.

  Args:
    prior: the prior.
    vqvae: its tokenizer, for the codes' vectors.
    keys: uint32 [n 2], data of PRNG keys.
    controls: turns logits into a code.
    conditions: by name, [n ...] each.
    given: int32 [n p], the first codes, or None.
    strategy: of `STRATEGIES`; static.
    passes: of the strategy 'masked'; 0 takes its default; static.
    with_logits: whether to return them; static.
  """
  module, look_up = prior.module(), vqvae.module().codebook.lookup
  keys = jax.random.wrap_key_data(keys)
  condition = module.condition(conditions)
  decode = STRATEGIES[strategy]
  if passes:
    decode = functools.partial(decode, passes=passes)
  return decode(module, look_up, condition, keys, controls, given, with_logits)


@_program('n')
def begin_stream(prior: Trained[Prior], controls: Controls, *, n: int) -> streams.Stream:
  """Returns n streams without a frame, for drawing by `controls`."""
  return streams.begin(prior.module(), n, controls.guidance is not None)


@_program('strategy', donated=(6,))
def draw_latent_frame(
  prior: Trained[Prior],
  vqvae: Trained[VQVAE],
  keys: jax.Array,
  controls: Controls,
  conditions: Conditions,
  angles: jax.Array,
  stream: streams.Stream,
  *,
  strategy: str = 'sequential',
) -> tuple[streams.Drawn, streams.Stream]:
  """Draws the next latent frame of each stream; see `streams.draw`.

  Args:
    keys: uint32 [n 2], data of PRNG keys.
    conditions: by name, of this latent frame, see `Conditioners.latent_frame`.
  """
  module, look_up = prior.module(), vqvae.module().codebook.lookup
  condition = module.conditioners.latent_frame(conditions)
  keys = jax.random.wrap_key_data(keys)
  return streams.draw(module, look_up, condition, keys, controls, angles, stream, strategy)


@_program(donated=(4,))
def feed_latent_frame(
  prior: Trained[Prior],
  vqvae: Trained[VQVAE],
  conditions: Conditions,
  angles: jax.Array,
  stream: streams.Stream,
  codes: jax.Array,
) -> streams.Stream:
  """Returns the streams with given latent frames int32 [n 1 h w]; see `streams.feed`."""
  module, look_up = prior.module(), vqvae.module().codebook.lookup
  condition = module.conditioners.latent_frame(conditions)
  return streams.feed(module, look_up, condition, angles, stream, codes)
