"""Codebook usage and bits per code, from counts of codes and from cross-entropies in nats.

K is the number of codes of a codebook, G the number of codebooks. Counts are summed on the host in
int64, batch by batch:

  counts += count_codes(codes, n_codes, mask)
"""

import math

import numpy as np

from videogpt_jax.errors import UserError


def count_codes(codes: np.ndarray, n_codes: int, mask: np.ndarray | None = None) -> np.ndarray:
  """Counts how often each code occurs.

  Args:
    codes: int [B ...], in [0, n_codes).
    n_codes: K.
    mask: float or bool [B], 0 for padding clips of the last batch; None counts all clips.
  Returns:
    int64 [K].
  Raises:
    UserError: a code lies outside [0, K).
  """
  codes = np.asarray(codes)
  if mask is not None:
    codes = codes[np.asarray(mask, bool)]
  if codes.size and not 0 <= codes.min() <= codes.max() < n_codes:
    raise UserError(
      f'codes ({codes.min()} to {codes.max()}) must lie in [0, n_codes={n_codes}); '
      'use the n_codes of their codebook'
    )
  return np.bincount(codes.reshape(-1), minlength=n_codes).astype(np.int64)


def codebook_usage(counts: np.ndarray) -> float:
  """Returns the fraction, 0 to 1, of the codes that occur: int [K] or [G K]."""
  return float(np.mean(np.asarray(counts) > 0))


def possible_usage(counts: np.ndarray) -> float:
  """Returns the usage, 0 to 1, that as many latents could reach at most: int [K] or [G K]."""
  counts = np.atleast_2d(counts)
  return float(min(counts.sum(axis=1).mean() / counts.shape[1], 1.0))


def codebook_perplexity(counts: np.ndarray) -> float:
  """Returns 2 ** entropy of the frequencies, 1 to K: the effective number of codes of a codebook.

  Several codebooks, [G K], give the mean of their perplexities, as in VideoGPT-Paper.
  """
  return float(np.mean(2.0 ** _bits_by_codebook(counts)))


def unigram_bits_per_code(counts: np.ndarray) -> float:
  """Returns the entropy of the codes' frequencies in bits per code, a bound that a prior must beat.

  Args:
    counts: int [K], or [G K] with several codebooks, each of which has frequencies of its own.
  Raises:
    UserError: nothing has been counted.
  """
  return float(np.mean(_bits_by_codebook(counts)))


def _bits_by_codebook(counts: np.ndarray) -> np.ndarray:
  """Returns float64 [G], the entropy of each codebook's frequencies."""
  counts = np.atleast_2d(np.asarray(counts, np.float64))
  totals = counts.sum(axis=1, keepdims=True)
  if np.any(totals <= 0):
    raise UserError('counts must hold at least one code; count a batch of codes first')
  frequencies = counts / totals
  return -np.sum(frequencies * np.log2(np.where(counts > 0, frequencies, 1)), axis=1) + 0.0


def bits_per_code(nats_per_code: float) -> float:
  """Converts nats per code to bits per code.

  The paper's "bits/dim" (tables 4, 6, 7) is taken to be that; VideoGPT-Paper logs nats only.
  """
  return float(nats_per_code) / math.log(2)


def bits_per_pixel_dim(
  nats_per_code: float, latent_shape: tuple[int, ...], video_shape: tuple[int, ...]
) -> float:
  """Returns the bits of a clip's codes divided by its number of pixel values.

  It is the cost of the codes only, not a likelihood of the pixels: the decoder's error is not
  included. It is comparable only between tokenizers of the same clips.

  Args:
    nats_per_code: the prior's cross-entropy.
    latent_shape: (t, h, w), or (t, h, w, codebooks).
    video_shape: (T, H, W, C).
  """
  return bits_per_code(nats_per_code) * math.prod(latent_shape) / math.prod(video_shape)
