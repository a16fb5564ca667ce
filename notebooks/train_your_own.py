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
# # Train VideoGPT on your own videos
#
# From a folder of videos, or a zip of one, to new videos: look at the data, train both models, draw
# videos, keep the model. It runs on Colab and anywhere else, on a GPU, a TPU or a CPU.
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
# ## Your videos
#
# `VIDEOS` is a folder of videos or a zip of one. On Colab, `UPLOAD` asks for videos or for a zip,
# and `DRIVE` keeps the uploads and the trained models on your Google Drive. After a disconnection,
# run the same cells again: uploads are found there, and training goes on from its last checkpoint.
#
# Videos that lie in a folder for each class are taken for classes. Without any videos, this cell
# makes some: handwritten digits that bounce off the walls.

# %%
# @title Videos
VIDEOS = ''  # @param {type:"string"}
UPLOAD = False  # @param {type:"boolean"}
DRIVE = True  # @param {type:"boolean"}

from pathlib import Path

from videogpt_jax.archive import unpack_zip

home, on_colab = Path('runs'), 'google.colab' in sys.modules
if on_colab and DRIVE:
  from google.colab import drive

  drive.mount('/content/drive')
  home = Path('/content/drive/MyDrive/videogpt_jax')
uploads = home / 'uploads'
if on_colab and UPLOAD:
  from google.colab import files

  uploads.mkdir(parents=True, exist_ok=True)
  for name, content in files.upload().items():
    (uploads / Path(name).name).write_bytes(content)

source = Path(VIDEOS) if VIDEOS else uploads
if not VIDEOS and not uploads.exists():
  from videogpt_jax.input.config import DatasetConfig
  from videogpt_jax.input.sources import digits

  source = Path('example')
  clips = DatasetConfig(resolution=64, sequence_length=24, digit_size=36, digit_speed=2.0)
  digits.write_videos(source, clips, n=100)

zips = [source] if source.suffix == '.zip' else sorted(source.glob('*.zip'))
if zips and source.parts[0] != 'unpacked':
  shutil.rmtree('unpacked', ignore_errors=True)  # of an earlier run of this cell
folders = [unpack_zip(file, Path('unpacked') / file.stem) for file in zips]
beside = [file for file in source.glob('[!.]*') if zips and file not in zips]
for file in beside:  # videos and folders that lie beside zips
  copy = shutil.copytree if file.is_dir() else shutil.copy
  (Path('unpacked') / 'others').mkdir(exist_ok=True)
  copy(file, Path('unpacked') / 'others' / file.name)
data = Path('unpacked') if folders[1:] or beside else folders[0] if folders else source
print(f'videos in {data}; models will be in {home}')

# %% [markdown]
# ## Look at them
#
# This is what training sees: `FRAMES` frames a clip, of which each is the one `FRAME_SKIP` frames
# after the one before, resized and cropped to `RESOLUTION`. `MIRROR` also shows clips mirrored left
# to right, which doubles the data where left and right mean the same. The advice at the end says
# what to change.

# %%
# @title Look
RESOLUTION = 32  # @param [32, 64, 128] {type:"raw"}
FRAMES = 16  # @param {type:"slider", min:4, max:32, step:4}
FRAME_SKIP = 1  # @param {type:"slider", min:1, max:8}
MIRROR = False  # @param {type:"boolean"}
SIZE = 'small'  # @param ["small", "medium"]
# Of the models: "small" for a CPU, "medium" for a GPU or TPU.

import json

from PIL import Image

flags = [f'--config=folder:{SIZE}', f'--config.dataset.path={data}']
flags += [f'--config.dataset.resolution={RESOLUTION}', f'--config.dataset.sequence_length={FRAMES}']
flags += [f'--config.dataset.frame_skip={FRAME_SKIP}', f'--config.dataset.random_flip={MIRROR}']
notebook.run('inspect_data', *flags, '--sheet=clips.png', '--json=data.json', '--seconds=1')
Image.open('clips.png')

# %% [markdown]
# ## Train
#
# First the tokenizer (`vqvae`), which learns to write clips as codes, then the prior, which learns
# which codes follow which. Curves, reconstructions of held-out clips and videos drawn on the way
# are shown while it runs. Stopping the cell saves; running it again goes on. Other settings need
# another `NAME`, since a run keeps its own.
#
# The steps below are a first try, of minutes, whose videos stay blurry. `0` takes the number of
# steps, or of clips a step, that belongs to `SIZE`: 600 steps of 4 clips, or thousands of 16. On
# several chips, the number of clips must be a multiple of the number of chips.

# %%
# @title Train
NAME = 'mine'  # @param {type:"string"}
VQVAE_STEPS = 150  # @param {type:"integer"}
PRIOR_STEPS = 150  # @param {type:"integer"}
BATCH_SIZE = 0  # @param {type:"integer"}
BY_CLASS = True  # @param {type:"boolean"}
# Whether the prior learns the classes, where there are some.

workdir = home / NAME
classes = json.loads(Path('data.json').read_text())['classes'] if BY_CLASS else []
training = [f'--config.prior.n_classes={len(classes)}', '--config.previews=4']
for stage, steps in (('vqvae', VQVAE_STEPS), ('prior', PRIOR_STEPS)):
  if steps:
    every = max(steps // 5, 1)
    settings = {'steps': steps, 'evaluate_every': every, 'checkpoint_every': every}
    training += [f'--config.{stage}_training.{key}={n}' for key, n in settings.items()]
  if BATCH_SIZE:
    training += [f'--config.{stage}_training.batch_size={BATCH_SIZE}']
stages = '--stages=vqvae,prior'
notebook.run('main', *flags, *training, stages, f'--workdir={workdir}', workdir=workdir)

# %% [markdown]
# ## Sample
#
# Lower temperatures give likelier and less varied videos. With classes, they take turns unless
# `CLASS` names one.

# %%
# @title Sample
NUM = 8  # @param {type:"slider", min:1, max:32}
SEED = 0  # @param {type:"integer"}
TEMPERATURE = 0.9  # @param {type:"slider", min:0, max:1.5, step:0.05}
CLASS = ''  # @param {type:"string"}

import av
import numpy as np

import videogpt_jax

drawing = [f'--num={NUM}', f'--seed={SEED}', f'--temperature={TEMPERATURE}', '--out=videos']
drawing += [f'--class_label={CLASS}'] if CLASS else []
notebook.run('sample', f'--model={workdir}', *drawing)

drawn = json.loads(Path('videos/samples.json').read_text())
videos = []
for each in drawn['videos']:
  with av.open(f'videos/{each["file"]}') as container:
    videos.append([frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)])
labels = [each['label'] for each in drawn['videos']] if classes else None
videogpt_jax.show(np.array(videos), fps=drawn['settings']['fps'], labels=labels)

# %% [markdown]
# ## Keep the model
#
# The models as a folder, which `load_videogpt` and every `--model` take, and the folder as a zip.
# On Colab both are on your Drive, if it is mounted, and `DOWNLOAD` downloads the zip. The notebook
# `sampling.ipynb` draws more videos with it.

# %%
# @title Save
DOWNLOAD = False  # @param {type:"boolean"}

exported = home / f'{NAME}_exported'
notebook.run('export', f'--model={workdir}', f'--out={exported}')
packed = shutil.make_archive(str(exported), 'zip', exported)
print(f'{exported}.zip has {Path(packed).stat().st_size:,} bytes')
if on_colab and DOWNLOAD:
  from google.colab import files

  files.download(packed)
