"""Kinds of files that come from strangers: an intact one of each, and what reads it."""

import json
import pathlib
import random
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from etils import epath

from tests.chaos import export, mutate

GOLDENS = pathlib.Path(__file__).parent.parent / 'goldens'


class Kind(NamedTuple):
  """A kind of file.

  Attributes:
    write: makes an intact one in a folder.
    harm: changes a copy of that folder.
    read: reads it as the program does.
  """

  write: Callable[[pathlib.Path], None]
  harm: Callable[[random.Random, pathlib.Path], None]
  read: Callable[[pathlib.Path], object]


def harm_a_file(draw: random.Random, folder: pathlib.Path, change=mutate.of_bytes):
  """Changes one file of a folder, or deletes it."""
  files = sorted(file for file in folder.rglob('*') if file.is_file())
  file = draw.choice(files)
  if len(files) > 1 and draw.random() < 0.1:
    file.unlink()
  else:
    file.write_bytes(change(draw, file.read_bytes()))


def harm_json(draw: random.Random, folder: pathlib.Path):
  """Changes values of one JSON file, or its text."""
  file = draw.choice(sorted(folder.glob('*.json')))
  if draw.random() < 0.3:
    file.write_bytes(mutate.of_text(draw, file.read_bytes()))
    return
  tree = mutate.of_tree(draw, json.loads(file.read_text()))
  file.write_text(json.dumps(tree, default=repr))


def _experiment():
  from tests import tiny_config
  from videogpt_jax.config import from_dict

  return from_dict(tiny_config.get_config())


def _write_config(folder):
  from videogpt_jax import workdir

  workdir.claim(epath.Path(folder), _experiment())


def _read_config(folder):
  from videogpt_jax import loading, memory, workdir

  experiment = workdir.read_experiment(epath.Path(folder))
  tokenizer = loading.abstract_vqvae(experiment)
  memory.check_training('vqvae', tokenizer.state)


def _write_small(folder):
  from videogpt_jax import workdir
  from videogpt_jax.files import write_json
  from videogpt_jax.training.logging import record_metrics

  path = epath.Path(folder)
  workdir.write_names(path, 'classes', ['a', 'b'])
  workdir.write_frame_rate(path, 8.0)
  workdir.mark_finished(path, _experiment(), 'sample')
  record_metrics(path, {'fvd': 3.0, 'fvd_low': 2.0, 'fvd_high': 4.0})
  write_json(path / 'times.json', {'reached': 3, 'seconds': {'steps': 1.5}})


def _read_small(folder):
  from videogpt_jax import workdir
  from videogpt_jax.stages.summary import summary
  from videogpt_jax.training import logging

  path = epath.Path(folder)
  workdir.names(path, 'classes')
  workdir.frame_rate(path)
  workdir.is_finished(path, _experiment(), 'sample')
  summary(path, 1.0)
  logging.read_times(path / 'times.json')


def _read_published(folder):
  from videogpt_jax import load_vqvae

  (file,) = folder.iterdir()
  load_vqvae(file)


def _copy(name):
  def write(folder):
    shutil.copy(GOLDENS / name, folder)

  return write


def _harm_checkpoint(draw, folder):
  """Changes bytes of a PyTorch file, or what it holds."""
  from videogpt_jax.interop import torch_file

  if draw.random() < 0.5:
    harm_a_file(draw, folder)
    return
  (file,) = folder.iterdir()
  tree = mutate.of_tree(draw, torch_file.read_checkpoint(file))
  try:
    torch_file.write_checkpoint(file, tree)
  except (ValueError, UnicodeEncodeError):  # what no checkpoint can hold
    harm_a_file(draw, folder)


PAPER = {
  **{'embedding_dim': 4, 'n_codebooks': 1, 'codes_per_book': 8, 'num_hiddens': 8, 'use_attn': True},
  **{'num_residual_layers': 1, 'num_residual_hiddens': 4, 'downsample': [2, 4, 4]},
  **{'attn_n_heads': 2, 'input_shape': [4, 16, 16]},
}


def _write_paper(folder):
  """A VQ-VAE of VideoGPT-Paper, of the names and shapes of its table and of no training."""
  from flax import nnx

  from videogpt_jax.interop import names, paper, paper_names, state_dict, torch_file
  from videogpt_jax.models.vqvae import VQVAE

  config = paper.vqvae_config(PAPER)
  vqvae = VQVAE(config, config.latent_shape(4, 16), rngs=nnx.Rngs(0))
  table = paper_names.vqvae_table(config)
  tensors = state_dict.to_tensors(nnx.state(vqvae), table)
  tensors |= dict.fromkeys(names.counter_names(table), np.int64(3))
  tree = {'state_dict': tensors, 'hp': PAPER, 'iteration': 3}
  torch_file.write_checkpoint(folder / 'vqvae.pth.tar', tree)


def _read_weights(folder):
  from videogpt_jax.evaluation import weights

  for file in sorted(folder.iterdir()):
    if '.data-' not in file.name:
      weights.read_tensors(file)


def _write_pickle(folder):
  import pickle

  tree = {'a': {'w': np.ones((3, 4), np.float32)}, 'b': np.arange(5)}
  (folder / 'a.pkl').write_bytes(pickle.dumps(tree))


def _write_bundle(folder):
  goldens = GOLDENS.parent / 'evaluation' / 'goldens'
  for file in goldens.glob('variables.*'):
    shutil.copy(file, folder)


def _write_safetensors(folder):
  from videogpt_jax.interop import published, torch_file

  tree = torch_file.read_checkpoint(GOLDENS / 'vqvae.ckpt')
  published.write(folder / 'vqvae.safetensors', tree)


def _write_actions(folder):
  np.save(folder / 'actions.npy', np.ones((6, 2), np.float32))
  np.save(folder / 'more.npy', np.ones((6, 2)).T[::-1].T)


def _read_actions(folder):
  from videogpt_jax import readers

  for name in ('actions.npy', 'more.npy'):
    readers.actions(folder / name, 2, 3)


def _clip(n=7):
  return np.arange(n * 6 * 8 * 3, dtype=np.uint8).reshape(n, 6, 8, 3)


def _write_clips(folder):
  np.savez_compressed(folder / 'a.npz', video=_clip(), actions=np.ones((7, 2)), label=3)
  np.savez(folder / 'b.npz', video=_clip(), actions=np.ones((6, 2)), label=4)


def _read_clips(folder):
  from videogpt_jax.evaluation import clip_sets

  clip_sets.open_clips(folder).read([0])
  _read_data(folder, 'folder', broken='stop')


def _read_prefix(folder):
  from videogpt_jax import readers

  for file in sorted(folder.iterdir()):
    readers.read_frames('continue_from', file, readers.Take(readers.Cut(), (4, 4), 4))


def _write_prefix(folder):
  from PIL import Image

  from videogpt_jax import media

  media.write_gif(epath.Path(folder / 'a.gif'), _clip(), 8)
  Image.fromarray(_clip()[0]).save(folder / 'b.png')
  np.save(folder / 'c.npy', _clip())


def _write_hdf5(folder):
  import h5py

  with h5py.File(folder / 'a.h5', 'w') as file:
    file['train_data'], file['train_idx'] = _clip(20), np.array([0, 8])
    file['test_data'], file['test_idx'] = _clip(9), np.array([0, 4])


def _read_data(folder, source, **changes):
  from videogpt_jax.input import DatasetConfig, pipeline

  path = next(folder.glob('*.h5'), folder) if source == 'hdf5' else folder
  config = DatasetConfig(source, str(path), resolution=4, sequence_length=4, **changes)
  for split in ('train', 'test'):
    next(pipeline.real_batches(config, split=split, start='first', batch_size=2))


def _write_shards(folder):
  from tests.input.writing import write_shard
  from videogpt_jax.input import shard_index

  for name in ('train-0', 'test-0'):
    write_shard(folder / f'{name}.tfrecord')
  shard_index.index_directory(str(folder)).save(str(folder))


def _harm_shards(draw, folder):
  if draw.random() < 0.5:
    harm_json(draw, folder)
  else:
    harm_a_file(draw, folder)


def _read_shards(folder):
  from videogpt_jax.input import shard_index, shards

  shards.load_manifest.cache_clear()
  shard_index.index_directory(str(folder))
  _read_data(folder, 'tfrecord')


def _write_orbax(folder):
  from tests.training.test_checkpoint import saved, state_at

  saved(folder / 'checkpoints', state_at(3), state_at(4))


def _read_orbax(folder):
  from tests.training.test_checkpoint import STAGE, restored, state_at
  from videogpt_jax.training.checkpoint import restore_model

  restore_model(folder / 'checkpoints', *STAGE.abstract()[1:])
  restored(folder / 'checkpoints', state_at(0))


def _write_beside(folder):
  (folder / 'a.json').write_text(json.dumps({'actions': [[1, 2], [3, 4]], 'label': 'x'}))
  (folder / 'b.jsonl').write_text('{"action": [1, 2]}\n{"action": [3, 4]}\n')
  (folder / 'c.csv').write_text('frame,action_0,action_1\n0,1.5,2\n1,3,4\n')
  np.savez(folder / 'd.npz', actions=np.ones((2, 2)))


def _read_beside(folder):
  from videogpt_jax.input import actions
  from videogpt_jax.input.layouts import beside

  for file in sorted(folder.iterdir()):
    found = beside.read(file.suffix, file.read_bytes(), '', str(file)).actions
    actions.settle({'a': found}, {'a': 2}, 'leads_from')


def _write_workdir(folder):
  from videogpt_jax.stages import run

  run.run(_experiment(), epath.Path(folder), run.STAGES)


def _harm_workdir(draw, folder):
  """Truncates, flips or deletes one file."""
  file = draw.choice(sorted(file for file in folder.rglob('*') if file.is_file()))
  content = bytearray(file.read_bytes())
  how = draw.randrange(3)
  if how == 0:
    file.unlink()
  elif how == 1 or not content:
    file.write_bytes(content[: len(content) // 2])
  else:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def _read_workdir(folder):
  """Resumes, then samples and evaluates, each with the same harm; raises what one of them says."""
  from videogpt_jax.errors import UserError
  from videogpt_jax.stages import run

  said, copied = None, folder.with_name('tried')
  for stages in (run.STAGES, ('sample', 'evaluate')):
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(folder, copied)
    if stages != run.STAGES:
      (copied / 'finished.json').unlink(missing_ok=True)
    try:
      run.run(_experiment(), epath.Path(copied), stages)
    except UserError as error:
      said = error
  if said:
    raise said


KINDS = {
  'config': Kind(_write_config, harm_json, _read_config),
  'json': Kind(_write_small, harm_json, _read_small),
  'ckpt': Kind(_copy('vqvae.ckpt'), _harm_checkpoint, _read_published),
  'paper': Kind(_write_paper, _harm_checkpoint, _read_published),
  'legacy': Kind(_copy('torch_dtypes_legacy.pt'), harm_a_file, _read_weights),
  'pickle': Kind(_write_pickle, harm_a_file, _read_weights),
  'variables': Kind(_write_bundle, harm_a_file, _read_weights),
  'safetensors': Kind(_write_safetensors, harm_a_file, _read_published),
  'actions': Kind(_write_actions, harm_a_file, _read_actions),
  'beside': Kind(
    _write_beside, lambda draw, folder: harm_a_file(draw, folder, mutate.of_text), _read_beside
  ),
  'npz': Kind(_write_clips, harm_a_file, _read_clips),
  'prefix': Kind(_write_prefix, harm_a_file, _read_prefix),
  'hdf5': Kind(_write_hdf5, harm_a_file, lambda folder: _read_data(folder, 'hdf5')),
  'tfrecord': Kind(_write_shards, _harm_shards, _read_shards),
  'workdir': Kind(_write_workdir, _harm_workdir, _read_workdir),
  'orbax': Kind(_write_orbax, harm_a_file, _read_orbax),
  'export': Kind(export.write, export.harm, export.read),
}
