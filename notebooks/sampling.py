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
# # Generate videos with VideoGPT
#
# VideoGPT turns clips into a small grid of discrete codes and models the codes with a
# transformer. This notebook loads a trained model, samples videos, and plays them here. It runs
# on Colab and anywhere else, on a GPU, a TPU or a CPU.
#
# On Colab, choose the hardware first: *Runtime*, *Change runtime type*.

# %%
# @title Install
REPOSITORY = ''  # @param {type:"string"}
# The address of the repository (https://...), or of a wheel; '' where videogpt_jax is installed.

import importlib.util
import os
import subprocess
import sys

FOLDER = 'videogpt_jax_repository'
if REPOSITORY and not importlib.util.find_spec('videogpt_jax'):
  if REPOSITORY.endswith('.whl'):
    what = f'videogpt-jax[train] @ {REPOSITORY}'
  else:
    subprocess.run(['git', 'clone', '--depth=1', REPOSITORY, FOLDER], check=True)
    os.chdir(FOLDER)  # configurations and the demo's digits are found from here
    what = '.[train]'
  subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', what], check=True)

import jax

import videogpt_jax

devices = f'{jax.device_count()} x {jax.devices()[0].device_kind}'
print(f'videogpt_jax {videogpt_jax.__version__} on {devices}')
if jax.default_backend() == 'cpu':
  print('No accelerator: everything works, only slower.')

# %% [markdown]
# ## The model
#
# `MODEL` is a workdir that `videogpt_jax.main` has filled, the folder of an export, or a
# published PyTorch checkpoint (`bair_gpt`, `ucf101_uncond_gpt` or the path of a file).
#
# There are no weights in the repository yet. If `MODEL` does not exist, the next cell trains the
# demo there: handwritten digits that bounce off the walls. This takes about ten minutes on two
# CPU cores.

# %%
# @title Load
MODEL = 'runs/demo'  # @param {type:"string"}

if not os.path.exists(MODEL) and MODEL.startswith('runs/'):
  train = ['-m', 'videogpt_jax.main', '--config=configs/demo.py', f'--workdir={MODEL}']
  subprocess.run([sys.executable, *train, '--stages=vqvae,prior'], check=True)

model = videogpt_jax.load_videogpt(MODEL)
print('codes of a clip:', model.latent_shape, ' classes:', list(model.classes) or 'none')

# %% [markdown]
# ## Sample
#
# Lower temperatures and a smaller `TOP_K` give likelier and less varied videos. A video depends
# on the seed alone, not on how many others are drawn.

# %%
# @title Settings
NUM = 8  # @param {type:"slider", min:1, max:32}
SEED = 0  # @param {type:"integer"}
TEMPERATURE = 1.0  # @param {type:"slider", min:0, max:1.5, step:0.05}
TOP_K = 0  # @param {type:"slider", min:0, max:256}
TOP_P = 1.0  # @param {type:"slider", min:0.05, max:1, step:0.05}
CLASS = ''  # @param {type:"string"}
# The name of a class, where the model has classes; leave it empty and the classes take turns.

settings = {'seed': SEED, 'temperature': TEMPERATURE}
if TOP_K:
  settings['top_k'] = TOP_K
if TOP_P < 1:
  settings['top_p'] = TOP_P
labels = None
if model.classes:
  labels = [CLASS or model.classes[i % len(model.classes)] for i in range(NUM)]
  settings['class_label'] = labels

video = model.sample(NUM, **settings)  # float32 [n T H W 3] in [0, 1]
videogpt_jax.show(video, labels=labels)

# %% [markdown]
# ## Go on from a clip of your own
#
# `CLIP` is a video file, or an image for models that need a single frame. The model's tokenizer
# reads it as its training clips were read, and the new video begins with the clip's last frames.
# On Colab, `UPLOAD` asks for a file.

# %%
# @title Continue a clip
CLIP = ''  # @param {type:"string"}
UPLOAD = False  # @param {type:"boolean"}
NUM_FRAMES = 32  # @param {type:"slider", min:8, max:128}

if UPLOAD:
  from google.colab import files

  CLIP = next(iter(files.upload()))
start = CLIP or (video[:1] - 0.5)  # the first sample, where there is no clip
one = {name: value for name, value in settings.items() if name != 'class_label'}
if labels:
  one['class_label'] = labels[0]
longer = model.sample(1, continue_from=start, num_frames=NUM_FRAMES, **one)
videogpt_jax.show(longer)

# %% [markdown]
# ## Keep the videos
#
# Each as an mp4 file. On Colab they are packed and downloaded.

# %%
# @title Save
OUT = 'videos'  # @param {type:"string"}
DOWNLOAD = False  # @param {type:"boolean"}

from etils.epath import Path

from videogpt_jax import media, pixels

folder = Path(OUT)
folder.mkdir(parents=True, exist_ok=True)
for i, one_video in enumerate(pixels.to_uint8(video, span=(0, 1))):
  media.write_mp4(folder / f'{i:04d}.mp4', one_video, fps=8)
print(f'{len(video)} files in {folder}')
if DOWNLOAD:
  import shutil

  from google.colab import files

  files.download(shutil.make_archive('videos', 'zip', OUT))
