"""The baseline: the published VQ-VAE in plain eager PyTorch, with names as in its checkpoints.

Only this file and benchmarks/eager_torch.py need PyTorch (the `torch` extra of pyproject.toml).

Axis letters: B batch; C channels; t h w grid; E embedding_dim; K n_codes; N heads; d head size;
n = B*t*h*w latents.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogpt_jax.models.vqvae import VQVAEConfig

DATA_VARIANCE = 0.06
"""Variance of pixels in [-0.5, 0.5], which divides the squared error."""

COMMITMENT = 0.25
DECAY = 0.99


def _padding(kernel: int, stride: tuple[int, ...]) -> list[int]:
  """Returns zeros before and after each axis, the last axis first, as `F.pad` takes them."""
  return [n for s in reversed(stride) for n in ((kernel - s + 1) // 2, (kernel - s) // 2)]


class Conv(nn.Module):
  """A convolution that divides the grid by its stride."""

  def __init__(self, n_in: int, n_out: int, kernel: int, stride=(1, 1, 1), bias: bool = True):
    super().__init__()
    self.padding = _padding(kernel, stride)
    self.conv = nn.Conv3d(n_in, n_out, kernel, stride, bias=bias)

  def forward(self, x: Tensor) -> Tensor:
    return self.conv(F.pad(x, self.padding))


class ConvTranspose(nn.Module):
  """A transposed convolution that multiplies the grid by its stride."""

  def __init__(self, n_in: int, n_out: int, kernel: int, stride: tuple[int, ...]):
    super().__init__()
    self.padding = _padding(kernel, stride)
    self.convt = nn.ConvTranspose3d(n_in, n_out, kernel, stride, padding=kernel - 1)

  def forward(self, x: Tensor) -> Tensor:
    return self.convt(F.pad(x, self.padding))


class AxisAttention(nn.Module):
  """Attention along one axis of [B t h w C]."""

  def __init__(self, C: int, n_heads: int, axis: int):
    super().__init__()
    self.axis, self.n_heads = axis, n_heads
    self.w_qs, self.w_ks, self.w_vs = (nn.Linear(C, C, bias=False) for _ in range(3))
    self.fc = nn.Linear(C, C)

  def forward(self, x: Tensor) -> Tensor:
    x = x.movedim(self.axis, 3)
    q, k, v = (
      f(x).unflatten(-1, (self.n_heads, -1)).transpose(3, 4)  # [B . . N line d]
      for f in (self.w_qs, self.w_ks, self.w_vs)
    )
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    y = self.fc((weights @ v).transpose(3, 4).flatten(4))
    return y.movedim(3, self.axis)


class AxialAttention(nn.Module):
  """The sum of attention along width, height and time: [B C t h w] -> [B C t h w]."""

  def __init__(self, C: int, n_heads: int):
    super().__init__()
    self.attn_w, self.attn_h, self.attn_t = (AxisAttention(C, n_heads, i) for i in (3, 2, 1))

  def forward(self, x: Tensor) -> Tensor:
    x = x.movedim(1, -1)
    return (self.attn_w(x) + self.attn_h(x) + self.attn_t(x)).movedim(-1, 1)


class ResidualBlock(nn.Module):
  """Norm, ReLU and convolution, twice; norm, ReLU and axial attention."""

  def __init__(self, C: int, n_heads: int):
    super().__init__()
    self.block = nn.Sequential(
      nn.BatchNorm3d(C),
      nn.ReLU(),
      Conv(C, C // 2, 3, bias=False),
      nn.BatchNorm3d(C // 2),
      nn.ReLU(),
      Conv(C // 2, C, 1, bias=False),
      nn.BatchNorm3d(C),
      nn.ReLU(),
      AxialAttention(C, n_heads),
    )

  def forward(self, x: Tensor) -> Tensor:
    return x + self.block(x)


def _residual_stack(config: VQVAEConfig) -> nn.Sequential:
  C, blocks = config.n_hiddens, range(config.n_res_layers)
  blocks = [ResidualBlock(C, config.n_heads) for _ in blocks]
  return nn.Sequential(*blocks, nn.BatchNorm3d(C), nn.ReLU())


class Encoder(nn.Module):
  """Strided convolutions, then residual blocks."""

  def __init__(self, config: VQVAEConfig):
    super().__init__()
    C = config.n_hiddens
    self.convs = nn.ModuleList(
      Conv(C if i else 3, C, 4, stride) for i, stride in enumerate(config.strides())
    )
    self.conv_last = Conv(C, C, 3)
    self.res_stack = _residual_stack(config)

  def forward(self, x: Tensor) -> Tensor:
    for conv in self.convs:
      x = F.relu(conv(x))
    return self.res_stack(self.conv_last(x))


class Decoder(nn.Module):
  """Residual blocks, then transposed convolutions."""

  def __init__(self, config: VQVAEConfig):
    super().__init__()
    C, strides = config.n_hiddens, config.strides()
    self.res_stack = _residual_stack(config)
    self.convts = nn.ModuleList(
      ConvTranspose(C, C if i + 1 < len(strides) else 3, 4, s) for i, s in enumerate(strides)
    )

  def forward(self, x: Tensor) -> Tensor:
    x = self.res_stack(x)
    for i, convt in enumerate(self.convts):
      x = convt(F.relu(x) if i else x)
    return x


class Codebook(nn.Module):
  """Codes learnt by moving averages; unused ones start again at random latents."""

  def __init__(self, K: int, E: int):
    super().__init__()
    start = torch.randn(K, E)
    self.register_buffer('embeddings', start)
    self.register_buffer('N', torch.zeros(K))
    self.register_buffer('z_avg', start.clone())

  def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns embeddings [B E t h w] with straight-through gradients, codes, the commitment."""
    flat = z.float().movedim(1, -1).flatten(0, 3)  # [n E]
    distances = (
      flat.square().sum(1, keepdim=True)
      - 2 * flat @ self.embeddings.t()
      + self.embeddings.square().sum(1)
    )
    codes = distances.argmin(dim=1)
    embeddings = self.embeddings[codes].view(*z.shape[:1], *z.shape[2:], -1).movedim(-1, 1)
    commitment = COMMITMENT * F.mse_loss(z.float(), embeddings)
    if self.training:
      self._learn(flat.detach(), F.one_hot(codes, len(self.N)).to(flat.dtype))
    through = z + (embeddings - z).detach()
    return through, codes.view(z.shape[0], *z.shape[2:]), commitment

  @torch.no_grad()
  def _learn(self, flat: Tensor, one_hot: Tensor):
    """Moves each code to the mean of its latents."""
    self.N.mul_(DECAY).add_(one_hot.sum(0), alpha=1 - DECAY)
    self.z_avg.mul_(DECAY).add_(one_hot.t() @ flat, alpha=1 - DECAY)
    total = self.N.sum()
    counts = (self.N + 1e-7) / (total + len(self.N) * 1e-7) * total
    used = (self.N >= 1)[:, None]
    repeats = -(-len(self.N) // len(flat))
    if repeats > 1:
      flat = flat.repeat(repeats, 1)
      flat = flat + 0.01 / math.sqrt(flat.shape[1]) * torch.randn_like(flat)
    restarts = flat[torch.randperm(len(flat), device=flat.device)[: len(self.N)]]
    self.embeddings.copy_(torch.where(used, self.z_avg / counts[:, None], restarts))


class EagerVQVAE(nn.Module):
  """Video [B 3 T H W] in [-0.5, 0.5] to codes and back, and the loss of training."""

  def __init__(self, config: VQVAEConfig):
    super().__init__()
    C, E = config.n_hiddens, config.embedding_dim
    self.encoder, self.decoder = Encoder(config), Decoder(config)
    self.pre_vq_conv, self.post_vq_conv = Conv(C, E, 1), Conv(E, C, 1)
    self.codebook = Codebook(config.n_codes, E)

  def forward(self, video: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the loss, the reconstruction [B 3 T H W] and the codes int64 [B t h w]."""
    embeddings, codes, commitment = self.codebook(self.pre_vq_conv(self.encoder(video)))
    reconstruction = self.decoder(self.post_vq_conv(embeddings))
    loss = F.mse_loss(reconstruction, video) / DATA_VARIANCE + commitment
    return loss, reconstruction, codes


def train_step(
  model: EagerVQVAE, video: Tensor, dtype: str, compiled: bool = False
) -> Callable[[], None]:
  """Returns a function that takes one step of Adam on these clips.

  Args:
    model: in training mode, on its device.
    video: float32 [B 3 T H W], on the same.
    dtype: 'float32', or 'bfloat16' for autocasting to it.
    compiled: whether `torch.compile` compiles the network with its loss and gradients.
  """
  optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
  forward = torch.compile(model) if compiled else model

  def step():
    optimizer.zero_grad()
    with torch.autocast(video.device.type, torch.bfloat16, enabled=dtype == 'bfloat16'):
      loss, *_ = forward(video)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()

  return step
