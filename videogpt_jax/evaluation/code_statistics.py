"""How the codebook is used and what a code costs: small functions on counts and on nats.

K is the number of codes. Counts accumulate in int64 on the host, batch after batch:

  counts += count_codes(codes, n_codes, mask)
"""

import math

import numpy as np


def count_codes(codes: np.ndarray, n_codes: int, mask: np.ndarray | None = None) -> np.ndarray:
  """Counts how often each code occurs.

  Args:
    codes: int [B ...], in [0, n_codes).
    n_codes: K.
    mask: float or bool [B], 0 for the padding clips of a last batch; all count if None.
  Returns:
    int64 [K].
  Raises:
    ValueError: a code lies outside [0, K).
  """
  codes = np.asarray(codes)
  if mask is not None:
    codes = codes[np.asarray(mask, bool)]
  if codes.size and not 0 <= codes.min() <= codes.max() < n_codes:
    raise ValueError(
      f'codes ({codes.min()} to {codes.max()}) must lie in [0, n_codes={n_codes}); '
      'use the n_codes of the codebook they come from'
    )
  return np.bincount(codes.reshape(-1), minlength=n_codes).astype(np.int64)


def codebook_usage(counts: np.ndarray) -> float:
  """The fraction, 0 to 1, of the K codes that occur at all."""
  return float(np.mean(np.asarray(counts) > 0))


def codebook_perplexity(counts: np.ndarray) -> float:
  """How many equally likely codes carry as much information: 1 to K, 2 ** entropy."""
  return 2.0 ** unigram_bits_per_code(counts)


def unigram_bits_per_code(counts: np.ndarray) -> float:
  """Entropy of the codes' frequencies, in bits a code: what a prior must undercut.

  Raises:
    ValueError: nothing has been counted.
  """
  counts = np.asarray(counts, np.float64)
  if counts.sum() <= 0:
    raise ValueError('counts must hold at least one code; count a batch of codes first')
  frequencies = counts[counts > 0] / counts.sum()
  return float(-np.sum(frequencies * np.log2(frequencies)) + 0.0)


def bits_per_code(nats_per_code: float) -> float:
  """Bits a code of a cross-entropy in nats a code; the paper's "bits/dim" (tables 4, 6, 7)."""
  return float(nats_per_code) / math.log(2)


def bits_per_pixel_dim(
  nats_per_code: float, latent_shape: tuple[int, ...], video_shape: tuple[int, ...]
) -> float:
  """Bits of a clip's codes over its pixels' values.

  It is the cost of the codes alone, not a likelihood of the pixels: the decoder's error is not
  in it. To be compared between tokenizers of the same clips, and with nothing else.

  Args:
    nats_per_code: the prior's cross-entropy.
    latent_shape: (t, h, w), or (t, h, w, codebooks).
    video_shape: (T, H, W, C).
  """
  return bits_per_code(nats_per_code) * math.prod(latent_shape) / math.prod(video_shape)
