"""How much of the codebook held-out clips use: `python -m benchmarks.codebook --model=runs/fsq`.

A run's own scores take one clip of each held-out recording, which may have fewer latents than a
large vocabulary needs. This takes clips at random places until there are enough. Not in `make
bench`, since usage is that of a trained model.
"""

import itertools

import numpy as np
from absl import flags
from etils.epath import Path

from videogpt_jax import cli

_MODEL = cli.define_model('A workdir with a trained tokenizer.')
_LATENTS = flags.DEFINE_integer('latents', 500_000, 'Codes to count, at least.', lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Clips at a time.', lower_bound=1)


def main(argv):
  del argv
  from videogpt_jax import load_vqvae, pixels, workdir
  from videogpt_jax.evaluation import code_statistics

  tokenizer = load_vqvae(_MODEL.value)
  dataset = workdir.read_experiment(Path(_MODEL.value)).dataset
  K, G = tokenizer.spec.n_codes, (*tokenizer.latent_shape, 1)[3]
  counts = np.zeros((G, K), np.int64)
  for batch in _batches(dataset):
    video = np.asarray(pixels.to_model_range(batch['video']))
    codes = np.asarray(tokenizer.encode(video)).reshape(len(video), -1, G)
    for g in range(G):
      counts[g] += code_statistics.count_codes(codes[..., g], K, batch['mask'])
    if counts.sum() >= _LATENTS.value:
      break
  print(f'{counts.sum():,} held-out codes of {K:,} values')
  print(f'  usage       {code_statistics.codebook_usage(counts):.1%}')
  print(f'  perplexity  {code_statistics.codebook_perplexity(counts):.0f} codes')
  print(f'  entropy     {code_statistics.unigram_bits_per_code(counts):.2f} bits a code')


def _batches(dataset):
  """Yields batches of held-out clips at random places of their recordings, without an end."""
  from videogpt_jax.input import pipeline

  for seed in itertools.count():
    yield from pipeline.real_batches(
      dataset, split='test', start='random', batch_size=_BATCH_SIZE.value, seed=seed
    )


if __name__ == '__main__':
  cli.start(main)
