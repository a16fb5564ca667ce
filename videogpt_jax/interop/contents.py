"""What a published checkpoint holds, as our configurations and states."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx

from videogpt_jax.errors import UserError
from videogpt_jax.interop import names, state_dict
from videogpt_jax.models.prior import Prior
from videogpt_jax.models.spec import CodeSpec, Resolution, code_spec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig

Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Published:
  """Contents of a published checkpoint.

  Attributes:
    vqvae: configuration of the VQ-VAE; in a prior's file, of the prior's VQ-VAE.
    vqvae_state: state of `VQVAE(vqvae)`.
    sequence_length: frames of a training clip.
    resolution: of the training clips; square in a published file.
    prior: configuration of the prior; None if the file is a VQ-VAE's.
    prior_state: state of `Prior(prior, codes)`, or None.
    counters: step counts of the VQ-VAE's batch norms, by name; 0 if absent.
    step: training steps of the file's own model; 0 if unknown.
  """

  vqvae: VQVAEConfig
  vqvae_state: nnx.State
  sequence_length: int
  resolution: Resolution
  prior: PriorConfig | None = None
  prior_state: nnx.State | None = None
  counters: Mapping[str, int] = dataclasses.field(default_factory=dict)
  step: int = 0

  @property
  def codes(self) -> CodeSpec:
    """The codes of the VQ-VAE."""
    return code_spec(self.vqvae, self.sequence_length, self.resolution)


def vqvae_state(
  config: VQVAEConfig, grid: Sequence[int], table: Sequence[names.Row], tensors: Tensors
) -> tuple[nnx.State, dict[str, int]]:
  """Returns the state of a VQ-VAE, and the step counts of its batch norms by their names.

  Raises:
    UserError: a tensor is missing, superfluous or of the wrong shape.
  """
  abstract = nnx.state(nnx.eval_shape(lambda: VQVAE(config, grid, rngs=nnx.Rngs(0))))
  check_enough(abstract, tensors)
  counters = names.counter_names(table)
  state = state_dict.to_state(tensors, table, abstract, besides=dict.fromkeys(counters, ()))
  # Published files do not say whether the codebook was initialised. A trained one has been used.
  codebook = state['codebook']
  codebook['initialised'] = codebook['initialised'].replace(jnp.any(codebook['N'][...] > 0))
  for name in counters:
    if tensors[name].dtype.kind not in 'iu':
      raise UserError(f'{name} is {tensors[name].dtype}, and counts must be whole numbers')
  return state, {name: int(tensors[name]) for name in counters}


def prior_state(
  config: PriorConfig,
  codes: CodeSpec,
  table: Sequence[names.Row],
  tensors: Tensors,
  besides: Mapping[str, tuple[int, ...]] | None = None,
) -> nnx.State:
  """Returns the state of a prior.

  Args:
    besides: names and shapes of further tensors that the file must hold.
  Raises:
    UserError: a tensor is missing, superfluous or of the wrong shape.
  """
  abstract = nnx.state(nnx.eval_shape(lambda: Prior(config, codes, rngs=nnx.Rngs(0))))
  check_enough(abstract, tensors)
  return state_dict.to_state(tensors, table, abstract, besides)


def checked_tensors(tensors: Mapping) -> dict[str, np.ndarray]:
  """Returns a state dict that holds tensors and nothing else (UserError)."""
  if not isinstance(tensors, Mapping):
    raise UserError(f'its state_dict is a {type(tensors).__name__}')
  for name, x in tensors.items():
    if not (isinstance(name, str) and isinstance(x, np.ndarray)):
      raise UserError(f'its state_dict holds {name!r}, a {type(x).__name__} and not a tensor')
    begin, end = np.lib.array_utils.byte_bounds(x)
    if (x.dtype.kind not in 'biuf' and x.dtype != ml_dtypes.bfloat16) or x.nbytes > end - begin:
      raise UserError(f'{name} is {x.dtype} {x.shape}, no numbers of its own')
  return dict(tensors)


def check_enough(state: nnx.State, tensors: Tensors):
  """Refuses a model that is much larger than all tensors of its file (UserError).

  Tensors may share memory in a file, and would each get their own here.
  """
  wanted = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
  there = end = 0
  for first, last in sorted(np.lib.array_utils.byte_bounds(x) for x in tensors.values()):
    there += max(last - max(first, end), 0)
    end = max(last, end)
  if wanted > 4 * there + (1 << 20):  # its numbers may have a byte each, and ours have four
    raise UserError(
      f'its hyper-parameters are of a model of {wanted >> 20} MiB, and it holds {there >> 20} MiB; '
      'is it a complete VideoGPT checkpoint?'
    )
