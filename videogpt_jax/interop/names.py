"""Where each published tensor lives in our models: one table a model, read in both directions.

Layouts are einops patterns from theirs to ours. Letters: O, I output and input channels; t h w a
kernel's extent in time, height, width; K n_codes; E embedding_dim.
"""

from collections.abc import Iterator
from typing import NamedTuple

from videogpt_jax.models.prior import CodeSpec
from videogpt_jax.models.resnet import BLOCKS
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

AS_IS = '... -> ...'
LINEAR = 'O I -> I O'
CONV = 'O I t h w -> t h w I O'
CONV_TRANSPOSE = 'I O t h w -> t h w I O'
CODES = 'K E -> 1 K E'
CODE_COUNTS = 'K -> 1 K'


class Row(NamedTuple):
  """One tensor.

  Attributes:
    name: in the published state dict.
    path: in our model's state.
    layout: einops pattern from theirs to ours.
    layer: its index on the leading axis of ours, which stacks the prior's blocks; None: no stack.
  """

  name: str
  path: tuple[str | int, ...]
  layout: str = AS_IS
  layer: int | None = None


Table = Iterator[tuple[str, str, str]]
"""Name, dotted path and layout of each tensor of a part of a model."""


def _within(theirs: str, ours: str, part: Table) -> Table:
  """A part's table, with both its names under a prefix."""
  for name, path, layout in part:
    yield f'{theirs}.{name}', f'{ours}.{path}', layout


def _linear(bias: bool = False) -> Table:
  yield 'weight', 'kernel', LINEAR
  if bias:
    yield 'bias', 'bias', AS_IS


def _conv(bias: bool = True) -> Table:
  yield 'conv.weight', 'kernel', CONV
  if bias:
    yield 'conv.bias', 'bias', AS_IS


def _conv_transpose() -> Table:
  yield 'convt.weight', 'kernel', CONV_TRANSPOSE
  yield 'convt.bias', 'bias', AS_IS


def _batch_norm() -> Table:
  yield 'weight', 'scale', AS_IS
  yield 'bias', 'bias', AS_IS
  yield 'running_mean', 'mean', AS_IS
  yield 'running_var', 'var', AS_IS


def _attention() -> Table:
  yield from _within('w_qs', 'query', _linear())
  yield from _within('w_ks', 'key', _linear())
  yield from _within('w_vs', 'value', _linear())
  yield from _within('fc', 'out', _linear(bias=True))


def _residual_block(config: VQVAEConfig) -> Table:
  # Theirs is an nn.Sequential that counts its ReLUs too.
  yield from _within('block.0', 'norm1', _batch_norm())
  yield from _within('block.2', 'conv1', _conv(bias=False))
  yield from _within('block.3', 'norm2', _batch_norm())
  yield from _within('block.5', 'conv2', _conv(bias=False))
  if config.axial_attention:
    yield from _within('block.6', 'norm3', _batch_norm())
    for axis in ('attn_w', 'attn_h', 'attn_t'):
      yield from _within(f'block.8.{axis}', f'attention.{axis}', _attention())


def _residual_stack(config: VQVAEConfig) -> Table:
  for i in range(config.n_res_layers):
    yield from _within(f'res_stack.{i}', f'res_stack.blocks.{i}', _residual_block(config))
  yield from _within(f'res_stack.{config.n_res_layers}', 'res_stack.norm', _batch_norm())


def _vqvae(config: VQVAEConfig) -> Table:
  for i in range(len(config.strides())):
    yield from _within(f'encoder.convs.{i}', f'encoder.convs.{i}', _conv())
  yield from _within('encoder.conv_last', 'encoder.conv_last', _conv())
  yield from _within('encoder', 'encoder', _residual_stack(config))
  yield from _within('decoder', 'decoder', _residual_stack(config))
  for i in range(len(config.strides())):
    yield from _within(f'decoder.convts.{i}', f'decoder.convts.{i}', _conv_transpose())
  yield from _within('pre_vq_conv', 'pre_vq_conv', _conv())
  yield from _within('post_vq_conv', 'post_vq_conv', _conv())
  yield 'codebook.embeddings', 'codebook.embeddings', CODES
  yield 'codebook.N', 'codebook.N', CODE_COUNTS
  yield 'codebook.z_avg', 'codebook.z_avg', CODES


def _layer_norm(conditional: bool) -> Table:
  if conditional:
    yield from _within('w', 'gain', _linear())
    yield from _within('wb', 'shift', _linear())
  else:
    yield 'g', 'scale', AS_IS
    yield 'b', 'bias', AS_IS


def _positions(n_axes: int) -> Table:
  for axis in range(n_axes):
    yield f'emb.d_{axis}', f'tables.{axis}', AS_IS


def _channel_norm() -> Table:
  yield 'norm.norm.weight', 'scale', AS_IS
  yield 'norm.norm.bias', 'bias', AS_IS


def _resnet_block(project: bool) -> Table:
  if project:
    yield 'proj_conv.weight', 'proj_conv.kernel', CONV
    yield from _within('proj_bnr', 'proj_norm', _channel_norm())
  for i in (1, 2):
    yield f'conv{i}.weight', f'conv{i}.kernel', CONV
    yield from _within(f'bnr{i}', f'norm{i}', _channel_norm())


def _resnet(depth: int) -> Table:
  yield 'stem.0.weight', 'stem.kernel', CONV
  yield from _within('stem.1', 'stem_norm', _channel_norm())
  for i, n_blocks in enumerate(BLOCKS[depth]):
    for j in range(n_blocks):
      theirs = f'blocks.{j - 1}' if j else 'start_block'
      yield from _within(f'group{i + 1}.{theirs}', f'groups.{i}.{j}', _resnet_block(j == 0))


def _prior_but_blocks(config: PriorConfig, codes: CodeSpec) -> Table:
  if config.n_cond_frames:
    yield from _within('resnet', 'resnet', _resnet(config.resnet_depth))
    yield from _within('cond_pos_embd', 'cond_positions', _positions(3))
  yield from _within('fc_in', 'fc_in', _linear())
  yield 'attn_stack.right_shift.sos', 'sos', AS_IS
  yield from _within('attn_stack.pos_embd', 'positions', _positions(len(codes.latent_shape)))
  yield from _within('norm', 'norm', _layer_norm(config.n_classes > 0))
  yield from _within('fc_out', 'fc_out', _linear())


def _prior_block(config: PriorConfig) -> Table:
  conditional = config.n_classes > 0
  yield from _within('pre_attn_norm', 'attn_norm', _layer_norm(conditional))
  yield from _within('attn', 'attn', _attention())
  if config.n_cond_frames:
    yield from _within('pre_enc_norm', 'cross_norm', _layer_norm(conditional))
    yield from _within('enc_attn', 'cross_attn', _attention())
  yield from _within('pre_fc_norm', 'mlp_norm', _layer_norm(conditional))
  yield from _within('fc_block.0', 'mlp_in', _linear(bias=True))
  yield from _within('fc_block.2', 'mlp_out', _linear(bias=True))


def vqvae_table(config: VQVAEConfig, prefix: str = '') -> list[Row]:
  """Returns a row for every tensor of a VQ-VAE but its batch norms' step counters.

  Args:
    prefix: of the published names; 'vqvae.' in a prior's file.
  """
  return [row._replace(name=prefix + row.name) for row in _rows(_vqvae(config))]


def prior_table(config: PriorConfig, codes: CodeSpec) -> list[Row]:
  """Returns a row for every tensor of a prior but its causal masks."""
  rows = _rows(_prior_but_blocks(config, codes))
  for layer in range(config.n_layers):
    block = _within(f'attn_stack.attn_nets.{layer}', 'blocks', _prior_block(config))
    rows += _rows(block, layer)
  return rows


def _rows(table: Table, layer: int | None = None) -> list[Row]:
  return [Row(name, _split(path), layout, layer) for name, path, layout in table]


def _split(path: str) -> tuple[str | int, ...]:
  return tuple(int(part) if part.isdigit() else part for part in path.split('.'))


def counter_names(config: VQVAEConfig, prefix: str = '') -> list[str]:
  """Returns the names of the batch norms' step counters, which our norms do not need."""
  end = '.running_var'
  names = [row.name for row in vqvae_table(config, prefix)]
  return [name.removesuffix(end) + '.num_batches_tracked' for name in names if name.endswith(end)]


def mask_names(config: PriorConfig) -> list[str]:
  """Returns the names of the causal masks, which a fully attending prior's file repeats."""
  if config.attn_type != 'full':
    return []
  return [f'attn_stack.attn_nets.{layer}.attn.attn.mask' for layer in range(config.n_layers)]
