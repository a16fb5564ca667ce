"""Names of VideoGPT-Paper's tensors and of ours: one table per model.

Letters are those of `names`, whose layers are shared.
"""

from videogpt_jax.interop import names
from videogpt_jax.interop.names import AS_IS, CONV, LINEAR, Row, Table, within
from videogpt_jax.models.conditioners import wanted
from videogpt_jax.models.prior import position_grid
from videogpt_jax.models.resnet import BLOCKS
from videogpt_jax.models.spec import CodeSpec
from videogpt_jax.models.transformer import PriorConfig
from videogpt_jax.models.vqvae import VQVAEConfig

_KEYS_AND_VALUES = 'to_kv.weight'
"""One tensor of the keys' kernel, then the values'."""


def vqvae_table(config: VQVAEConfig) -> list[Row]:
  """Returns a row for every tensor of a VQ-VAE except its batch norms' step counters."""
  return _with_parts(names.rows_of(_vqvae(config)))


def prior_table(config: PriorConfig, codes: CodeSpec) -> list[Row]:
  """Returns a row for every tensor of a prior."""
  rows = names.rows_of(_prior_but_blocks(config, codes))
  for layer in range(config.n_layers):
    block = within(f'attn_model.attn_nets.{layer}', 'blocks', _prior_block(config))
    rows += names.rows_of(block, layer)
  return rows


def _with_parts(rows: list[Row]) -> list[Row]:
  """Says which half of their common tensor keys and values are."""
  return [
    row._replace(part=(int('value' in row.path), 2)) if row.name.endswith(_KEYS_AND_VALUES) else row
    for row in rows
  ]


def _vqvae(config: VQVAEConfig) -> Table:
  if config.axial_positions:
    yield from within('pos_embd', 'positions', _positions(3))
  for i in range(len(config.strides())):
    yield from within(f'encoder.ds_convs.{i}', f'encoder.convs.{i}', names.conv())
  yield from within('encoder.conv_last', 'encoder.conv_last', names.conv())
  for part in ('encoder', 'decoder'):
    yield from within(f'{part}.res_stack', f'{part}.res_stack', _residual_stack(config))
  for i in range(len(config.strides())):
    yield from within(f'decoder.us_convts.{i}', f'decoder.convts.{i}', names.conv_transpose())
  yield from within('pre_vq_conv1', 'pre_vq_conv', names.conv())
  yield from within('decoder.conv1', 'post_vq_conv', names.conv())
  for name in ('embeddings', 'N', 'z_avg'):
    yield f'codebook.{name}', f'codebook.{name}', AS_IS


def _residual_stack(config: VQVAEConfig) -> Table:
  for i in range(config.n_res_layers):
    yield from within(f'blocks.{i}.block', f'blocks.{i}', _residual_block(config))
  yield from within('bn', 'norm', names.batch_norm())


def _residual_block(config: VQVAEConfig) -> Table:
  # Their nn.Sequential numbers ReLUs, moves of axes and the positions' sum too.
  yield from within('0', 'norm1', names.batch_norm())
  yield from within('2', 'conv1', names.conv(bias=False))
  yield from within('3', 'norm2', names.batch_norm())
  yield from within('5', 'conv2', names.conv(bias=False))
  if config.axial_attention:
    yield from within('6', 'norm3', names.batch_norm())
    for i, axis in enumerate(('attn_t', 'attn_h', 'attn_w')):
      yield from within(f'11.axial_attentions.{i}.fn', f'attention.{axis}', _axis_attention())


def _axis_attention() -> Table:
  yield 'to_q.weight', 'query.kernel', LINEAR
  yield _KEYS_AND_VALUES, 'key.kernel', LINEAR
  yield _KEYS_AND_VALUES, 'value.kernel', LINEAR
  yield from within('to_out', 'out', names.linear(bias=True))


def _positions(n_axes: int) -> Table:
  for theirs, ours, layout in names.positions(n_axes):
    yield f'{theirs}.weight', ours, layout


def _prior_but_blocks(config: PriorConfig, codes: CodeSpec) -> Table:
  if config.n_cond_frames:
    yield from within('cond_nets.0', 'conditioners.frames.resnet', resnet(config.resnet_depth))
    frames = within('cond_pos_embd', 'conditioners.frames.positions', _positions(3))
    yield from ((f'attn_model.{theirs}', ours, layout) for theirs, ours, layout in frames)
  yield from within('fc_in', 'fc_in', names.linear())
  yield 'attn_model.pre_pos_embd.sos', 'sos', AS_IS
  n_axes = len(position_grid(config, codes))
  yield from within('attn_model.pos_embd', 'positions', _positions(n_axes))
  yield from within('norm', 'norm', names.layer_norm(_conditional(config)))
  yield from within('fc_out', 'fc_out', names.linear())


def _prior_block(config: PriorConfig) -> Table:
  conditional = _conditional(config)
  yield from within('attn.norm', 'attn_norm', names.layer_norm(conditional))
  yield from within('attn.module.attn', 'attn', _attention())
  if config.n_cond_frames:
    yield from within('enc_attn.norm', 'cross_norm', names.layer_norm(conditional))
    yield from within('enc_attn.module.attn', 'cross_attn', _attention())
  yield from within('fc_block.norm', 'mlp_norm', names.layer_norm(conditional))
  yield from within('fc_block.module.0', 'mlp_in', names.linear(bias=True))
  yield from within('fc_block.module.2', 'mlp_out', names.linear(bias=True))


def _attention() -> Table:
  for theirs, ours in (('w_qs', 'query'), ('w_ks', 'key'), ('w_vs', 'value'), ('fc', 'out')):
    yield from within(theirs, ours, names.linear())


def resnet(depth: int) -> Table:
  """Returns the tensors of the network on conditioning frames."""
  yield 'stem.0.conv.weight', 'stem.kernel', CONV
  yield from within('stem.1', 'stem_norm', names.channel_norm())
  for i, n_blocks in enumerate(BLOCKS[depth]):
    for j in range(n_blocks):
      theirs = f'blocks.{j - 1}' if j else 'start_block'
      yield from within(f'group{i + 1}.{theirs}', f'groups.{i}.{j}', _resnet_block(j == 0))


def _resnet_block(project: bool) -> Table:
  if project:
    yield 'proj_conv.conv.weight', 'proj_conv.kernel', CONV
    yield from within('proj_bnr', 'proj_norm', names.channel_norm())
  for i in (1, 2):
    yield f'conv{i}.conv.weight', f'conv{i}.kernel', CONV
    yield from within(f'bnr{i}', f'norm{i}', names.channel_norm())


def _conditional(config: PriorConfig) -> bool:
  """Whether the norms have a condition."""
  return bool(wanted(config).keys() - {'frames'})
