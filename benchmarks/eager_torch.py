"""The baseline: the published prior in plain eager PyTorch.

All scores of causal attention are computed and then masked. Sampling allocates the cache for all
positions, attends to all of it under a mask, and runs one Python iteration per code. Only this file
needs PyTorch (the `torch` extra of pyproject.toml).

Axis letters: B batch; L codes of a clip; K n_codes; E embedding_dim; D hidden_dim; N heads;
d head size.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of a prior; the defaults are those of the published BAIR model."""

  latent_shape: tuple[int, ...] = (4, 32, 32)
  n_codes: int = 2048
  embedding_dim: int = 256
  hidden_dim: int = 576
  n_heads: int = 4
  n_layers: int = 8
  dropout: float = 0.2
  attn_dropout: float = 0.3


class LayerNorm(nn.Module):
  """Layer norm with epsilon outside the root."""

  def __init__(self, D: int):
    super().__init__()
    self.scale = nn.Parameter(torch.ones(D))
    self.bias = nn.Parameter(torch.zeros(D))

  def forward(self, x: Tensor) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    var = (x - mean).square().mean(dim=-1, keepdim=True)
    return (x - mean) * (1e-5 + torch.rsqrt(var)) * self.scale + self.bias


class Attention(nn.Module):
  """Causal self-attention of all positions, or of one position with a KV cache."""

  def __init__(self, sizes: Sizes):
    super().__init__()
    D, self.sizes = sizes.hidden_dim, sizes
    self.query, self.key, self.value = (nn.Linear(D, D, bias=False) for _ in range(3))
    self.out = nn.Linear(D, D)
    L = math.prod(sizes.latent_shape)
    self.register_buffer('mask', torch.ones(L, L, dtype=torch.bool).tril(), persistent=False)
    self.cache: tuple[Tensor, Tensor] | None = None

  def forward(self, x: Tensor, position: int | None = None) -> Tensor:
    q, k, v = (
      f(x).unflatten(-1, (self.sizes.n_heads, -1)).transpose(1, 2)  # [B N L d]
      for f in (self.query, self.key, self.value)
    )
    L = x.shape[1]
    mask = self.mask[:L, :L]
    if position is not None:
      if position == 0:
        shape = (*k.shape[:2], len(self.mask), k.shape[3])
        self.cache = k.new_zeros(shape), v.new_zeros(shape)
      for cache, new in zip(self.cache, (k, v), strict=True):
        cache[:, :, position] = new[:, :, 0]
      k, v = self.cache
      mask = self.mask[position : position + 1]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    weights = F.dropout(weights, self.sizes.attn_dropout, self.training)
    return self.out((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
  """Self-attention and MLP, both pre-norm and residual."""

  def __init__(self, sizes: Sizes):
    super().__init__()
    D = sizes.hidden_dim
    self.dropout = sizes.dropout
    self.attn_norm, self.mlp_norm = LayerNorm(D), LayerNorm(D)
    self.attn = Attention(sizes)
    self.mlp_in, self.mlp_out = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

  def forward(self, x: Tensor, position: int | None = None) -> Tensor:
    h = self.attn(self.attn_norm(x), position)
    x = x + F.dropout(h, self.dropout, self.training)
    h = self.mlp_in(self.mlp_norm(x))
    h = self.mlp_out(h * torch.sigmoid(1.702 * h))
    return x + F.dropout(h, self.dropout, self.training)


class EagerPrior(nn.Module):
  """Logits of every code given the earlier ones, and a sampler."""

  def __init__(self, sizes: Sizes):
    super().__init__()
    D, axes = sizes.hidden_dim, len(sizes.latent_shape)
    self.sizes = sizes
    self.codebook = nn.Parameter(torch.randn(sizes.n_codes, sizes.embedding_dim), False)
    self.fc_in = nn.Linear(sizes.embedding_dim, D, bias=False)
    self.sos = nn.Parameter(0.02 * torch.randn(D))
    self.positions = nn.ParameterList(
      0.01 * torch.randn(size, D // axes) for size in sizes.latent_shape
    )
    self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.n_layers))
    self.norm = LayerNorm(D)
    self.fc_out = nn.Linear(D, sizes.n_codes, bias=False)

  def flat_positions(self) -> Tensor:
    """Returns the position embeddings [L D], in raster order."""
    grid = self.sizes.latent_shape
    columns = []
    for axis, table in enumerate(self.positions):
      shape = [1] * len(grid) + [table.shape[1]]
      shape[axis] = grid[axis]
      columns.append(table.view(shape).expand(*grid, -1))
    return torch.cat(columns, dim=-1).flatten(0, -2)

  def forward(self, codes: Tensor) -> Tensor:
    """Returns logits float32 [B L K] of codes int64 [B L], as in training."""
    x = self.fc_in(self.codebook[codes])
    x = torch.cat([self.sos.expand(len(x), 1, -1), x[:, :-1]], dim=1) + self.flat_positions()
    for block in self.blocks:
      x = block(x)
    return self.fc_out(self.norm(x))

  @torch.no_grad()
  def sample(self, batch_size: int, n_codes: int | None = None) -> Tensor:
    """Draws the first `n_codes` codes (by default all) of `batch_size` clips: int64 [B n_codes].

    Every step attends to the whole cache and so costs the same.
    """
    self.eval()
    positions, codes = self.flat_positions(), []
    x = self.sos.expand(batch_size, 1, -1)
    for position in range(n_codes or len(positions)):
      x = x + positions[position]
      for block in self.blocks:
        x = block(x, position)
      probabilities = self.fc_out(self.norm(x))[:, 0].softmax(dim=-1)
      codes.append(torch.multinomial(probabilities, 1))
      x = self.fc_in(self.codebook[codes[-1]])
    return torch.cat(codes, dim=1)
