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
# ## The model
#
# `MODEL` is the name of a model that comes with the package, a workdir that `videogpt_jax.main` has
# filled, the folder of an export, or a published PyTorch checkpoint (`bair_gpt`,
# `ucf101_uncond_gpt` or the path of a file). On Colab, `DRIVE` makes your Google Drive a folder,
# where `train_your_own.ipynb` keeps its runs: `/content/drive/MyDrive/videogpt_jax/mine`.
#
# Two models come with the package: `doom`, a game conditioned on actions, and `digits`, handwritten
# digits that bounce off the walls, conditioned on their class.

# %%
# @title Load
MODEL = 'doom'  # @param {type:"string"}
DRIVE = False  # @param {type:"boolean"}

import videogpt_jax

if DRIVE:
  from google.colab import drive

  drive.mount('/content/drive')

model = videogpt_jax.load_videogpt(MODEL)
starts = notebook.starts(MODEL, 8)  # held-out clips to begin with, or None
print('codes of a clip:', model.latent_shape, ' classes:', list(model.classes) or 'none')
names = ', '.join(notebook.conditions(model, starts, 1)) or 'nothing'
print('the prior is conditioned on:', names)
if model.action_names:
  print('actions:', list(model.action_names))

# %% [markdown]
# ## Sample
#
# Lower temperatures and a smaller `TOP_K` give likelier and less varied videos. A video depends
# on the seed alone, not on how many others are drawn.
#
# `GUIDANCE` above 1 follows the condition more closely, in models that have also learnt to do
# without it. `digits` has: 1.5 suits it.
#
# `CLASS` is for models of classes. `ACTION`, by name or number, is for models conditioned on
# actions, and holds for all frames. `FRAMES` is a video or photo for models that begin with given
# frames; on Colab, `UPLOAD_FRAMES` asks for it. What is left empty comes from held-out clips of the
# model's data, where there are some. Without them, classes take turns, and frames and actions are
# zeros.

# %%
# @title Settings
NUM = 8  # @param {type:"slider", min:1, max:32}
SEED = 0  # @param {type:"integer"}
TEMPERATURE = 1.0  # @param {type:"slider", min:0, max:1.5, step:0.05}
TOP_K = 0  # @param {type:"slider", min:0, max:256}
TOP_P = 1.0  # @param {type:"slider", min:0.05, max:1, step:0.05}
GUIDANCE = 1.0  # @param {type:"slider", min:1, max:4, step:0.1}
CLASS = ''  # @param {type:"string"}
ACTION = ''  # @param {type:"string"}
FRAMES = ''  # @param {type:"string"}
UPLOAD_FRAMES = False  # @param {type:"boolean"}

if UPLOAD_FRAMES:
  from google.colab import files

  FRAMES = next(iter(files.upload()))
settings = {'seed': SEED, 'temperature': TEMPERATURE}
if TOP_K:
  settings['top_k'] = TOP_K
if TOP_P < 1:
  settings['top_p'] = TOP_P
if GUIDANCE > 1:
  settings['guidance'] = GUIDANCE


def conditions(n, n_frames):
  """Returns what n videos of so many frames are conditioned on, by name."""
  found = notebook.conditions(model, starts, n, n_frames, ACTION)
  return model.conditions(n, CLASS or None, FRAMES or None, conditions=found)


given = conditions(NUM, model.vqvae.spec.sequence_length)
labels = [model.classes[i] for i in given['class_label']] if model.classes else None

video = model.sample(NUM, conditions=given, **settings)  # float32 [n T H W 3] in [0, 1]
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
given = conditions(1, NUM_FRAMES)
given.pop('frames', None)  # which the clip brings
longer = model.sample(1, continue_from=start, num_frames=NUM_FRAMES, conditions=given, **settings)
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
