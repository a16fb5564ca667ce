"""Names of VideoGPT's tensors and of ours: one table per model, for import and export.

The other published code, VideoGPT-Paper, has names of its own: `paper_names`.

Layouts are einops patterns from theirs to ours. Letters: O, I output and input channels; t h w
kernel size in time, height, width; K n_codes; E embedding_dim.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from videogpt_jax.models.resnet import BLOCKS
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

AS_IS = '... -> ...'
LINEAR = 'O I -> I O'
CONV = 'O I t h w -> t h w I O'
CONV_TRANSPOSE = 'I O t h w -> t h w I O'
CODES = 'K E -> 1 K E'
CODE_COUNTS = 'K -> 1 K'


class Row(NamedTuple):
  """One published tensor.

  Attributes:
    name: in the published state dict.
    path: in our model's state.
    layout: einops pattern from theirs to ours.
    layer: index on our leading axis, which stacks the prior's blocks; None if it has no such axis.
    part: (i, n) if ours is the i-th of n equal parts that theirs has along its first axis.
  """

  name: str
  path: tuple[str | int, ...]
  layout: str = AS_IS
  layer: int | None = None
  part: tuple[int, int] = (0, 1)


Table = Iterator[tuple[str, str, str]]
"""Name, dotted path and layout of each tensor of a part of a model."""


def within(theirs: str, ours: str, part: Table) -> Table:
  """Prefixes both names of a part's table."""
  for name, path, layout in part:
    yield f'{theirs}.{name}', f'{ours}.{path}', layout


def linear(bias: bool = False) -> Table:
  yield 'weight', 'kernel', LINEAR
  if bias:
    yield 'bias', 'bias', AS_IS


def conv(bias: bool = True) -> Table:
  yield 'conv.weight', 'kernel', CONV
  if bias:
    yield 'conv.bias', 'bias', AS_IS


def conv_transpose() -> Table:
  yield 'convt.weight', 'kernel', CONV_TRANSPOSE
  yield 'convt.bias', 'bias', AS_IS


def batch_norm() -> Table:
  yield 'weight', 'scale', AS_IS
  yield 'bias', 'bias', AS_IS
  yield 'running_mean', 'mean', AS_IS
  yield 'running_var', 'var', AS_IS


def _attention() -> Table:
  yield from within('w_qs', 'query', linear())
  yield from within('w_ks', 'key', linear())
  yield from within('w_vs', 'value', linear())
  yield from within('fc', 'out', linear(bias=True))


def _residual_block(config: VQVAEConfig) -> Table:
  # Their nn.Sequential numbers its ReLUs too.
  yield from within('block.0', 'norm1', batch_norm())
  yield from within('block.2', 'conv1', conv(bias=False))
  yield from within('block.3', 'norm2', batch_norm())
  yield from within('block.5', 'conv2', conv(bias=False))
  if config.axial_attention:
    yield from within('block.6', 'norm3', batch_norm())
    for axis in ('attn_w', 'attn_h', 'attn_t'):
      yield from within(f'block.8.{axis}', f'attention.{axis}', _attention())


def _residual_stack(config: VQVAEConfig) -> Table:
  for i in range(config.n_res_layers):
    yield from within(f'res_stack.{i}', f'res_stack.blocks.{i}', _residual_block(config))
  yield from within(f'res_stack.{config.n_res_layers}', 'res_stack.norm', batch_norm())


def _vqvae(config: VQVAEConfig) -> Table:
  for i in range(len(config.strides())):
    yield from within(f'encoder.convs.{i}', f'encoder.convs.{i}', conv())
  yield from within('encoder.conv_last', 'encoder.conv_last', conv())
  yield from within('encoder', 'encoder', _residual_stack(config))
  yield from within('decoder', 'decoder', _residual_stack(config))
  for i in range(len(config.strides())):
    yield from within(f'decoder.convts.{i}', f'decoder.convts.{i}', conv_transpose())
  yield from within('pre_vq_conv', 'pre_vq_conv', conv())
  yield from within('post_vq_conv', 'post_vq_conv', conv())
  yield 'codebook.embeddings', 'codebook.embeddings', CODES
  yield 'codebook.N', 'codebook.N', CODE_COUNTS
  yield 'codebook.z_avg', 'codebook.z_avg', CODES


def layer_norm(conditional: bool) -> Table:
  if conditional:
    yield from within('w', 'gain', linear())
    yield from within('wb', 'shift', linear())
  else:
    yield 'g', 'scale', AS_IS
    yield 'b', 'bias', AS_IS


def positions(n_axes: int) -> Table:
  for axis in range(n_axes):
    yield f'emb.d_{axis}', f'tables.{axis}', AS_IS


def channel_norm() -> Table:
  yield 'norm.norm.weight', 'scale', AS_IS
  yield 'norm.norm.bias', 'bias', AS_IS


def _resnet_block(project: bool) -> Table:
  if project:
    yield 'proj_conv.weight', 'proj_conv.kernel', CONV
    yield from within('proj_bnr', 'proj_norm', channel_norm())
  for i in (1, 2):
    yield f'conv{i}.weight', f'conv{i}.kernel', CONV
    yield from within(f'bnr{i}', f'norm{i}', channel_norm())


def _resnet(depth: int) -> Table:
  yield 'stem.0.weight', 'stem.kernel', CONV
  yield from within('stem.1', 'stem_norm', channel_norm())
  for i, n_blocks in enumerate(BLOCKS[depth]):
    for j in range(n_blocks):
      theirs = f'blocks.{j - 1}' if j else 'start_block'
      yield from within(f'group{i + 1}.{theirs}', f'groups.{i}.{j}', _resnet_block(j == 0))


def _prior_but_blocks(config: PriorConfig, codes: CodeSpec) -> Table:
  if config.n_cond_frames:
    yield from within('resnet', 'conditioners.frames.resnet', _resnet(config.resnet_depth))
    yield from within('cond_pos_embd', 'conditioners.frames.positions', positions(3))
  yield from within('fc_in', 'fc_in', linear())
  yield 'attn_stack.right_shift.sos', 'sos', AS_IS
  yield from within('attn_stack.pos_embd', 'positions', positions(len(codes.latent_shape)))
  yield from within('norm', 'norm', layer_norm(config.n_classes > 0))
  yield from within('fc_out', 'fc_out', linear())


def _prior_block(config: PriorConfig) -> Table:
  conditional = config.n_classes > 0
  yield from within('pre_attn_norm', 'attn_norm', layer_norm(conditional))
  yield from within('attn', 'attn', _attention())
  if config.n_cond_frames:
    yield from within('pre_enc_norm', 'cross_norm', layer_norm(conditional))
    yield from within('enc_attn', 'cross_attn', _attention())
  yield from within('pre_fc_norm', 'mlp_norm', layer_norm(conditional))
  yield from within('fc_block.0', 'mlp_in', linear(bias=True))
  yield from within('fc_block.2', 'mlp_out', linear(bias=True))


def vqvae_table(config: VQVAEConfig, prefix: str = '') -> list[Row]:
  """Returns a row for every tensor of a VQ-VAE except its batch norms' step counters.

  Args:
    prefix: of the published names; 'vqvae.' in a prior's file.
  """
  return [row._replace(name=prefix + row.name) for row in rows_of(_vqvae(config))]


def prior_table(config: PriorConfig, codes: CodeSpec) -> list[Row]:
  """Returns a row for every tensor of a prior except its causal masks."""
  rows = rows_of(_prior_but_blocks(config, codes))
  for layer in range(config.n_layers):
    block = within(f'attn_stack.attn_nets.{layer}', 'blocks', _prior_block(config))
    rows += rows_of(block, layer)
  return rows


def rows_of(table: Table, layer: int | None = None) -> list[Row]:
  return [Row(name, _split(path), layout, layer) for name, path, layout in table]


def _split(path: str) -> tuple[str | int, ...]:
  return tuple(int(part) if part.isdigit() else part for part in path.split('.'))


def counter_names(table: Sequence[Row]) -> list[str]:
  """Returns the names of the batch norms' step counters, which our norms do not have."""
  end = '.running_var'
  names = [row.name for row in table]
  return [name.removesuffix(end) + '.num_batches_tracked' for name in names if name.endswith(end)]


def mask_names(config: PriorConfig) -> list[str]:
  """Returns the names of the causal masks, one per layer of a prior with full attention."""
  if config.attn_type != 'full':
    return []
  return [f'attn_stack.attn_nets.{layer}.attn.attn.mask' for layer in range(config.n_layers)]
