import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import metrics

from videogpt_jax.evaluation import image_quality


def _pair(seed=0, shape=(2, 3, 21, 17, 3), noise=0.1):
  rng = np.random.default_rng(seed)
  reference = rng.random(shape, dtype=np.float32)
  video = np.clip(reference + noise * rng.standard_normal(shape, dtype=np.float32), 0, 1)
  return video, reference


def _each_frame(function, video, reference, **kwargs):
  return np.array(
    [
      [
        function(b.astype(np.float64), a.astype(np.float64), **kwargs)
        for a, b in zip(v, r, strict=True)
      ]
      for v, r in zip(video, reference, strict=True)
    ]
  )


def test_psnr_equals_scikit_image():
  video, reference = _pair()
  expected = _each_frame(metrics.peak_signal_noise_ratio, video, reference, data_range=1)
  np.testing.assert_allclose(image_quality.psnr(video, reference), expected, rtol=1e-5)


def test_psnr_of_a_known_error_is_known():
  reference = np.full((4, 5, 3), 0.25, np.float32)
  assert image_quality.psnr(reference + 0.1, reference) == pytest.approx(20, abs=1e-4)
  assert image_quality.psnr(255 * reference + 25.5, 255 * reference, 255) == pytest.approx(20)


def test_psnr_of_an_exact_frame_is_that_of_8_bit_rounding():
  # Rounding errors are uniform over one level.
  levels = np.random.default_rng(0).uniform(0, 255, (400, 300, 3))
  rounded = np.asarray(np.round(levels), np.float32)
  bound = 10 * np.log10(12 * 255**2)
  assert image_quality.psnr(rounded, levels, 255) == pytest.approx(bound, abs=0.05)
  video, reference = _pair()
  video[0, 1] = reference[0, 1]
  scores = image_quality.psnr(video, reference)
  assert scores[0, 1] == pytest.approx(bound, abs=1e-4)
  assert np.isfinite(np.mean(scores)) and np.max(scores) == scores[0, 1]
  shifted = 255 * (video - 0.5), 255 * (reference - 0.5)
  assert image_quality.psnr(*shifted, 255)[0, 1] == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize(
  ('window', 'settings'),
  [
    ('uniform', {}),
    ('gaussian', {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False}),
  ],
)
@pytest.mark.parametrize('noise', [0.003, 0.1, 1.0])
def test_ssim_equals_scikit_image(window, settings, noise):
  video, reference = _pair(noise=noise)
  expected = _each_frame(
    metrics.structural_similarity, video, reference, data_range=1, channel_axis=-1, **settings
  )
  actual = image_quality.ssim(video, reference, window=window)
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  shifted = image_quality.ssim(video - 0.5, reference - 0.5, offset=0.5, window=window)
  np.testing.assert_allclose(shifted, expected, atol=1e-5)


def test_ssim_of_flat_bright_frames_keeps_its_precision():
  # Flat areas are where float32 variances lose their digits.
  reference = np.full((30, 30, 3), 0.97, np.float32)
  reference[:, 15:] = 0.01
  video = reference.copy()
  video[10:20, 5:9] -= 0.004
  expected = metrics.structural_similarity(
    reference.astype(np.float64), video.astype(np.float64), data_range=1, channel_axis=-1
  )
  np.testing.assert_allclose(image_quality.ssim(video, reference), expected, atol=1e-5)


def test_nmse_is_the_error_over_the_variance():
  video, reference = _pair()
  expected = np.mean((video - reference) ** 2, dtype=np.float64) / np.var(reference)
  np.testing.assert_allclose(image_quality.nmse(video, reference), expected, rtol=1e-5)
  mean = np.full_like(reference, reference.mean())
  np.testing.assert_allclose(image_quality.nmse(mean, reference), 1, rtol=1e-5)
  scaled = image_quality.nmse(video, reference, variance=0.06)
  np.testing.assert_allclose(scaled * 0.06, np.mean((video - reference) ** 2), rtol=1e-5)


def test_the_measures_run_under_jit_and_framewise():
  video, reference = _pair()
  together = jax.jit(image_quality.ssim)(video, reference)
  apart = image_quality.framewise(image_quality.ssim, jnp.array(video), jnp.array(reference))
  assert together.shape == (2, 3)
  np.testing.assert_allclose(together, apart, atol=1e-6)


def test_bad_input_is_refused_in_one_line():
  video, reference = _pair()
  for measure in (image_quality.psnr, image_quality.ssim, image_quality.nmse):
    with pytest.raises(ValueError, match='must have the same shape'):
      measure(video, reference[:, :, :-1])
  with pytest.raises(ValueError, match=r'frames \(6x17\) must be at least'):
    image_quality.ssim(video[:, :, :6], reference[:, :, :6])
  with pytest.raises(ValueError, match="'uniform' or 'gaussian'"):
    image_quality.ssim(video, reference, window='box')
