"""Settings of strangers: types before values, sizes before memory; one line names what is wrong."""

import argparse
import dataclasses
import json
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from videogpt_jax import memory, typed, workdir
from videogpt_jax.config import Experiment, from_dict
from videogpt_jax.errors import UserError
from videogpt_jax.interop import hyper_parameters, paper


@pytest.mark.parametrize(
  ('hint', 'good', 'bad'),
  [
    (int, [0, -3, 2**31 - 1], [True, 1.0, '1', None, [1], 2**31, 10**5000]),
    (float, [0, 0.5, -1e30], [True, '1', None, float('nan'), float('inf'), 10**400]),
    (bool, [True, False], [0, 1, 'true', None]),
    (str, ['', 'a'], [0, None, b'a', ['a']]),
    (int | None, [None, 3], [False, 0.5, 'none']),
    (int | tuple[int, int], [3, (3, 4), [3, 4]], [(3,), (3, 4, 5), (3, 4.0), '34']),
    (tuple[int, ...], [(), [1, 2, 3]], [3, (1, None), [1] * 17, {'a': 1}]),
    (dict, [{}, {'a': 1}], [[], None, 'a']),
  ],
)
def test_a_value_has_the_type_of_its_hint(hint, good, bad):
  for value in good:
    assert typed.read(value, hint, 'key') == (tuple(value) if isinstance(value, list) else value)
  for value in bad:
    with pytest.raises(UserError, match=r'^key'):
      typed.read(value, hint, 'key')


def leaves(section, path=()):
  for name, hint in typing.get_type_hints(section).items():
    if dataclasses.is_dataclass(hint):
      yield from leaves(hint, (*path, name))
    else:
      yield (*path, name)


@pytest.mark.parametrize('value', [{'a': 1}, [['a']], 2**31, float('nan')])
def test_every_key_refuses_what_is_of_no_use_and_is_named(value, tmp_path):
  for path in leaves(Experiment):
    tree = value
    for name in reversed(path):
      tree = {name: tree}
    with pytest.raises(UserError, match=re.escape('config.' + '.'.join(path))):
      from_dict(tree)
  for section in ('vqvae', 'prior'):
    (tmp_path / 'config.json').write_text(json.dumps({section: {'dtype': value}}))
    with pytest.raises(UserError, match=rf'^{tmp_path}/config.json: \S*config.{section}'):
      workdir.read_experiment(epath.Path(tmp_path))


BEYOND_MEMORY = {
  'n_hiddens': {'vqvae': {'n_hiddens': 2**20}},
  'n_layers': {'prior': {'n_layers': 2**20}},
  'pixels': {'dataset': {'sequence_length': 2**14, 'resolution': 2**13}},
  'codes ': {'dataset': {'sequence_length': 2**10, 'resolution': 2**9}},
  'blocks': {'prior': {'attn_type': 'sparse', 'attn_block': 1}, 'vqvae': {'downsample': (1, 1, 2)}},
  'rotary': {
    'prior': {'positions': 'rotary', 'n_heads': 1, 'hidden_dim': 2**16},
    'vqvae': {'downsample': (1, 2, 2)},
  },
  'bits a code': {'vqvae': {'quantizer': 'lfq', 'embedding_dim': 2**14}},
}


@pytest.mark.parametrize('named', BEYOND_MEMORY)
def test_sizes_beyond_all_memory_are_refused_before_anything_is_made(named):
  with pytest.raises(UserError, match=named):
    from_dict(BEYOND_MEMORY[named])


def test_a_model_larger_than_the_machine_is_refused():
  fits = jax.ShapeDtypeStruct((10, 10), jnp.float32)
  memory.check_training('prior', {'a': fits})
  with pytest.raises(UserError, match=r'prior: training state takes \d+ MiB, and there are'):
    memory.check_training('prior', {'a': fits, 'b': jax.ShapeDtypeStruct((2**30, 2**30), 'int8')})


PUBLISHED = {
  **{'embedding_dim': 4, 'n_codes': 8, 'n_hiddens': 8, 'n_res_layers': 1},
  **{'downsample': [2, 4, 4], 'sequence_length': 4, 'resolution': 16},
}

PAPER = {
  **{'embedding_dim': 4, 'n_codebooks': 1, 'codes_per_book': 8, 'num_hiddens': 8, 'use_attn': True},
  **{'num_residual_layers': 1, 'num_residual_hiddens': 4, 'downsample': [2, 4, 4]},
  **{'attn_n_heads': 2},
}


@pytest.mark.parametrize('value', ['2', None, 0.5, [2], {}, True, -1, 2**40, np.ones(2)])
def test_hyper_parameters_of_another_type_are_refused(value):
  assert hyper_parameters.vqvae_config(argparse.Namespace(**PUBLISHED)).n_codes == 8
  assert paper.vqvae_config(PAPER).n_codes == 8
  for name in ('embedding_dim', 'n_codes', 'n_hiddens', 'n_res_layers', 'downsample'):
    with pytest.raises(UserError):
      hyper_parameters.vqvae_config(argparse.Namespace(**PUBLISHED | {name: value}))
  for name in PAPER.keys() - {'use_attn'}:
    with pytest.raises(UserError):
      paper.vqvae_config(PAPER | {name: value})
