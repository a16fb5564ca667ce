"""A prior of 100 million parameters on 16 (or 64) frames of 128x128: a v5e slice of 16 chips.

  python -m videogpt_jax.plan --config=configs/scale/prior_100m.py --topology=v5e:4x4
  python -m videogpt_jax.main --config=configs/scale/prior_100m.py
  python -m videogpt_jax.main --config=configs/scale/prior_100m.py:64     64 frames, 16,384 codes

docs/scale.md has planned memory, time and cost. Not trained.
"""

from configs.scale import shared
from videogpt_jax.training.sharding import MeshConfig

BATCH_SIZES = {'16': 128, '64': 32}


def get_config(frames: str = '16'):
  return shared.experiment(
    'prior_100m',
    frames,
    shared.prior(hidden_dim=1024, n_layers=8, mlp_dim=2816),
    BATCH_SIZES.get(frames, 1),
    MeshConfig(),  # parameters and optimiser state are 1.2 GB: every chip holds them
  ).to_config_dict()
