# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How VideoGPT works, with one clip
#
# One clip goes through every part of the model, with shapes and pictures: encoder, quantizer,
# decoder, then the prior, its KV cache, and sampling. The paper (arXiv 2104.10157) describes the
# tokenizer in section 3.1 and the prior in section 3.2. This notebook runs on Colab and anywhere
# else, on a GPU, a TPU or a CPU.
#
# Axis letters: T H W frames, height, width; t h w latent grid; E size of a latent; K number of
# different codes; L codes of a clip.

# %%
# @title Install
REPOSITORY = ''  # @param {type:"string"}
# The address of the repository (https://...), or of a wheel; '' where videogpt_jax is installed.

import glob
import importlib.util
import re
import shutil
import subprocess
import sys

if not importlib.util.find_spec('videogpt_jax'):
  if not REPOSITORY:
    sys.exit('videogpt_jax is not installed: set REPOSITORY')
  extras = 'train,hub'
  if shutil.which('nvidia-smi'):
    query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader']
    driver = re.match(r'\d+', subprocess.run(query, capture_output=True, text=True).stdout)
    extras += '' if not driver else ',cuda' if int(driver[0]) >= 580 else ',cuda12'
  elif glob.glob('/dev/accel[0-9]*') or glob.glob('/dev/vfio/[0-9]*'):
    extras += ',tpu'
  address = REPOSITORY if REPOSITORY.endswith('.whl') else f'git+{REPOSITORY}'
  package = f'videogpt-jax[{extras}] @ {address}'
  if subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', package]).returncode:
    sys.exit(f'pip could not install {package}: is REPOSITORY right?')
  importlib.invalidate_caches()

from videogpt_jax import notebook

notebook.announce()

# %% [markdown]
# ## A model and a clip
#
# `MODEL` is whatever `load_videogpt` takes: a run's workdir, an export, a model's name, or a
# published PyTorch checkpoint. `digits` and `doom` come with the package.
#
# The clip is a held-out one of the model's data, or your own: `CLIP` is a video file.

# %%
# @title Load
MODEL = 'digits'  # @param {type:"string"}
CLIP = ''  # @param {type:"string"}

import math

import jax
import numpy as np
from PIL import Image

import videogpt_jax
from videogpt_jax import media, readers

model = videogpt_jax.load_videogpt(MODEL)
vqvae, spec = model.vqvae, model.vqvae.spec

starts = notebook.starts(MODEL, 1)
if CLIP:
  take = readers.Take(model.cut, spec.frame_size, spec.sequence_length, spec.sequence_length)
  clip = readers.video('CLIP', CLIP, take, 1)
elif starts:
  clip = np.float32(starts.frames[:1, : spec.sequence_length]) / 255 - 0.5
else:
  raise videogpt_jax.UserError('this model brings no clip; set CLIP to a video file')
conditions = notebook.conditions(model, starts, 1)
if 'class_label' in conditions and starts:
  conditions['class_label'] = starts.class_label[:1]  # the clip's
if 'frames' in conditions:
  conditions['frames'] = clip[:, : model.config.n_cond_frames]

print(f'clip: {clip.dtype} {list(clip.shape)} in [{clip.min():.2f}, {clip.max():.2f}]')
print('the prior is conditioned on:', ', '.join(conditions) or 'nothing')
videogpt_jax.show(clip + 0.5)

# %% [markdown]
# ## Encoder: clip to latents
#
# Strided convolutions shrink the clip along time, height and width. Residual blocks follow, with
# axial attention where the model has it. They leave a vector z of E numbers at each place of the
# latent grid. The picture shows its first three as red, green and blue: one small frame for each of
# the t latent frames.

# %%
# @title Latents
network = vqvae.module()  # the Flax NNX module
z = jax.jit(network.latents)(clip)  # float32 [1 t h w E]


def pictures(grid):
  """Shows latent frames [t h w 3] in [0, 1] side by side, enlarged."""
  frames = np.uint8(np.round(255 * np.asarray(grid)))
  return Image.fromarray(media.grid(media.enlarge(frames[:, None]), columns=min(len(frames), 8))[0])


def spread(values):
  """Scales each of the last axis's entries to [0, 1]."""
  values = np.float32(values)
  low, high = (f(values, axis=tuple(range(values.ndim - 1))) for f in (np.min, np.max))
  return (values - low) / np.maximum(high - low, 1e-6)


def colours(vectors):
  """Returns three entries of each vector [... E] as a colour [... 3] in [0, 1]."""
  return spread(vectors[..., np.arange(3) % vectors.shape[-1]])


factors = ' x '.join(str(n) for n in vqvae.config.downsample)
print(f'z: {z.dtype} {list(z.shape)}, from {list(clip.shape)}: {factors} times smaller')
pictures(colours(z[0]))

# %% [markdown]
# ## Quantizer: latents to codes
#
# Each z becomes one of K codes. With a codebook (`ema`, the paper's), the code is the number of its
# nearest vector; other quantizers (`fsq`, `lfq`, `bsq`) round each entry of z. The clip is now L
# whole numbers. In the picture, each code has a colour of its own.

# %%
# @title Codes
codes = vqvae.encode(clip)  # int32 [1 t h w], or [1 t h w G] with G codebooks
assert np.mean(codes == jax.jit(network.codebook.nearest)(z)) > 0.99  # but for near-ties

palette = np.random.default_rng(0).uniform(0.1, 1, (spec.n_codes, 3))
L = math.prod(spec.latent_shape)
bits = L * math.log2(spec.n_codes)
print(f'quantizer: {vqvae.config.quantizer}, K = {spec.n_codes:,}')
print(f'codes: {codes.dtype} {list(codes.shape)}, {len(np.unique(codes))} different ones')
print(f'{8 * clip.size:,} bits of pixels became {bits:,.0f} bits of codes')
print('the first row of codes:', *np.ravel(codes)[: spec.latent_shape[-1]])
one_book = codes[0] if codes.ndim == 4 else codes[0, ..., 0]
pictures(palette[one_book])

# %% [markdown]
# ## Decoder: codes to a clip
#
# Each code is replaced by its vector, and transposed convolutions make a clip of the vectors. What
# the codes have lost stays lost: no prior can draw better than this reconstruction.

# %%
# @title Reconstruct
vectors = vqvae.lookup(codes)  # float32 [1 t h w e]
reconstruction = np.clip(vqvae.decode(codes), -0.5, 0.5)  # float32 [1 T H W 3]
error = np.mean(np.square(reconstruction - clip))
print(f'vectors: {list(vectors.shape)}; reconstruction: {list(reconstruction.shape)}')
print(f'PSNR {-10 * math.log10(error):.1f} dB')
pair = np.concatenate([clip, reconstruction]) + 0.5
videogpt_jax.show(pair, labels=['the clip', 'its reconstruction'])

# %% [markdown]
# ## The prior: which code follows which
#
# The codes are flattened in raster order: time first, then height, then width. The transformer's
# input is shifted to the right by one, after a learnt start vector, so that each position sees only
# the codes before it. Its output at a position are logits: a distribution over the code there.
#
# A large vocabulary has a head for each of several *factors* of a code instead of K logits; their
# probabilities multiply.

# %%
# @title Logits
prior = model.prior.module()
flat = np.ravel(codes)  # raster order, int32 [L]
print('codes:', *flat[:8], '...')
print('input:', 'start', *flat[:7], '...')

logits = model.logits(codes, conditions=conditions)  # float32 [1 t h w k], k = K unless factorised
print(f'logits: {list(logits.shape)} for factors of {" x ".join(map(str, prior.factors.sizes))}')

log_p = np.asarray(prior.factors.log_p(logits, codes))[0]  # nats, of the true code at each place
bits_per_code = -log_p.mean() / math.log(2)
print(f'{bits_per_code:.2f} bits a code; {math.log2(spec.n_codes):.2f} if all codes were alike')

# %% [markdown]
# The probability that the prior gives to the code that is there, place by place: bright where the
# code was expected, dark where it was not. The first latent frame says what the clip shows. Later
# ones continue it, and are easier to predict where nothing moves.

# %%
# @title Probability of the true codes
p = np.exp(log_p).reshape(*spec.latent_shape[:3], -1).mean(axis=-1)  # several codebooks: their mean
print('mean probability, latent frame by latent frame:', *(f'{x:.2f}' for x in p.mean(axis=(1, 2))))
pictures(np.repeat(p[..., None], 3, axis=-1))

# %% [markdown]
# ## Causality
#
# No position may know the code that it predicts, or a later one. Changing the last code must
# therefore leave all logits as they are, up to the last position; changing the first one need not.

# %%
# @title Change a code
changed = flat.copy()
changed[-1] = (flat[-1] + 1) % spec.n_codes
others = model.logits(changed.reshape(codes.shape), conditions=conditions)
np.testing.assert_allclose(others, logits, atol=1e-3)
changed = flat.copy()
changed[0] = (flat[0] + 1) % spec.n_codes
others = np.asarray(model.logits(changed.reshape(codes.shape), conditions=conditions))
moved = np.abs(others - logits).reshape(L, -1).max(axis=-1) > 1e-3
print(f'the last code changes no logit; the first one those of {moved.sum()} of {L} positions')

# %% [markdown]
# ## One code at a time
#
# Sampling draws a code, feeds it back, and draws the next one. Keys and values of all earlier
# positions are kept (the KV cache), so that a step computes one position. This cell draws a clip,
# with the logits of each step. Given the whole clip at once, the prior returns the same logits.

# %%
# @title KV cache
from videogpt_jax import programs
from videogpt_jax.sampling.logits import Controls

keys = jax.random.key_data(jax.random.split(jax.random.key(0), 1))
drawn = programs.draw(model.prior, vqvae, keys, Controls(), conditions, with_logits=True)
at_once = np.asarray(model.logits(drawn.codes, conditions=conditions))
apart = np.abs(drawn.logits - at_once).max()
assert apart < 0.05 * max(1, np.abs(at_once).max()), apart
print(f'{L} steps and one pass over all positions: logits differ by at most {apart:.1e}')

# %% [markdown]
# ## Sampling
#
# The logits are divided by the temperature before a code is drawn. At 0 the likeliest code is
# taken. Higher ones are more varied, and above 1 less likely than the data.

# %%
# @title Temperatures
TEMPERATURES = '0, 0.7, 1, 1.3'  # @param {type:"string"}
SEED = 0  # @param {type:"integer"}

temperatures = [float(x) for x in TEMPERATURES.split(',')]
codes_drawn, labels = [], []
for temperature in temperatures:
  request = model.request(1, SEED, conditions=conditions, temperature=temperature)
  made = model.generate(request)
  codes_drawn.append(made.codes[0].reshape(spec.latent_shape))
  nats = -made.log_likelihood[0] / L
  labels.append(f'{temperature:g}: {nats / math.log(2):.2f} bits')
  print(f'temperature {temperature:g}: {nats / math.log(2):.2f} bits a code')
codes_drawn = np.stack(codes_drawn)  # int32 [n t h w]
first = codes_drawn[:, 0] if codes_drawn.ndim == 4 else codes_drawn[:, 0, ..., 0]
pictures(palette[first])

# %% [markdown]
# The picture above shows the codes of each draw's first latent frame. Decoded, they are videos.

# %%
# @title Decode
videos = model.videos(codes_drawn)  # float32 [n T H W 3] in [0, 1]
videogpt_jax.show(videos, labels=labels)
