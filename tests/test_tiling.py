"""Frames larger than trained go through in tiles, whose seams do not show."""

import jax
import numpy as np
import pytest
from flax import nnx

from videogpt_jax import UserError, programs, tiling
from videogpt_jax.models.vqvae import VQVAE, VQVAEConfig
from videogpt_jax.tokenizer import make_tokenizer

TILE = (16, 20)  # places of the latent grid


@pytest.fixture(scope='module', params=[1, 2], ids=['one codebook', 'two codebooks'])
def tokenizer(request):
  """Convolutions alone, so that a code depends on a few places around it."""
  config = VQVAEConfig(
    embedding_dim=4,
    n_codes=7,
    n_codebooks=request.param,
    n_hiddens=8,
    n_res_layers=1,
    downsample=(2, 2, 4),
    axial_attention=False,
  )
  vqvae = VQVAE(config, rngs=nnx.Rngs(0))
  return make_tokenizer(vqvae, 4, (2 * TILE[0], 4 * TILE[1]))


@pytest.mark.parametrize('size', [16, 17, 20, 28, 29, 31, 43, 100])
@pytest.mark.parametrize('overlap', [1, 4, 15])
def test_tiles_cover_every_place_and_give_each_one_code(size, overlap):
  tiles = tiling.Tiling(size, 16, overlap, factor=2)
  assert tiles.starts[0] == 0 and tiles.starts[-1] == size - 16
  assert (np.diff(tiles.starts) <= 16 - overlap).all()
  codes, frames = [], np.zeros(2 * size)
  for place, kept in zip(tiles.places, tiles.kept, strict=True):
    codes += np.arange(size)[place][kept].tolist()
  assert codes == list(range(size))
  for pixels, weights in zip(tiles.pixels, tiles.weights, strict=True):
    frames[pixels] += weights
    assert weights.min() >= 0
  np.testing.assert_allclose(frames, 1, atol=1e-6)


@pytest.mark.parametrize('grid', [(16, 20), (16, 31), (40, 57), (10, 37)])
def test_tiles_that_overlap_enough_equal_the_whole(tokenizer, grid):
  shape = (2, 4, 2 * grid[0], 4 * grid[1], 3)
  video = np.asarray(jax.random.uniform(jax.random.key(0), shape)) - np.float32(0.5)
  codes = tokenizer.encode(video)
  tiled = tokenizer.encode_tiles(video, overlap=12)
  assert tiled.shape == codes.shape
  assert (tiled != codes).mean() < 1e-3  # of two nearest codes that are nearly tied
  frames = tokenizer.decode_tiles(codes, overlap=12)
  np.testing.assert_allclose(frames, tokenizer.decode(codes), atol=1e-5)


def test_the_network_sees_tiles_of_the_trained_size_alone(tokenizer, monkeypatch):
  seen = set()
  for name in ('encode', 'decode'):
    run = getattr(programs, name)
    spy = lambda vqvae, x, run=run: seen.add(np.shape(x)[2:4]) or run(vqvae, x)
    monkeypatch.setattr(programs, name, spy)
  codes = tokenizer.encode_tiles(np.zeros((1, 4, 100, 300, 3), np.float32))
  assert tokenizer.decode_tiles(codes).shape == (1, 4, 100, 300, 3)
  assert seen == {(32, 80), TILE}


def test_impossible_tiles_are_refused(tokenizer):
  for overlap in (16, -1):
    with pytest.raises(UserError, match=rf'overlap \({overlap}\) .* less than a tile \(16 '):
      tokenizer.encode_tiles(np.zeros((1, 4, 100, 300, 3), np.float32), overlap)
  with pytest.raises(UserError, match=r'height \(33\) must be divisible by downsample \(2\)'):
    tokenizer.encode_tiles(np.zeros((1, 4, 33, 80, 3), np.float32))
