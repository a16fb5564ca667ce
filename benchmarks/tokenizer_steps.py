"""Seconds a training step of each tokenizer: `python -m benchmarks.tokenizer_steps`.

The steps of configs/tokenizers.py on random clips, in turns, with the machine to themselves.
"""

import jax
from absl import flags

from videogpt_jax import cli

_NAMES = flags.DEFINE_list('names', [], 'Variants of configs/tokenizers.py; all laptop ones.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 4, 'Clips a step.', lower_bound=1)
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Turns of each.', lower_bound=1)


def main(argv):
  del argv
  from benchmarks.steps import TrainStep
  from benchmarks.timing import in_turns
  from configs import tokenizers
  from videogpt_jax.config import from_dict
  from videogpt_jax.stages.shapes import stage_of

  names = _NAMES.value or [name for name in tokenizers.VARIANTS if '4x' not in name]
  runs = {}
  for name in names:
    experiment = from_dict(tokenizers.get_config(name))
    shape = (_BATCH_SIZE.value, *experiment.codes.clip_shape)
    video = jax.random.uniform(jax.random.key(0), shape, minval=-0.5, maxval=0.5)
    runs[name] = TrainStep(stage_of('vqvae', experiment)[0], {'video': video})
    print(f'{name}: compiled in {runs[name].compile_seconds:.0f} s', flush=True)
  for name, times in in_turns(runs, _ROUNDS.value, round_seconds=2.0).items():
    print(f'{name:20s} {times.median:.3f} s a step ({times.fastest:.3f} to {times.slowest:.3f})')


if __name__ == '__main__':
  cli.start(main)
