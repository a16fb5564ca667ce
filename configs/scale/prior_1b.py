"""A prior of 1 billion parameters on 16 (or 64) frames of 128x128: a v5p slice of 32 chips.

  python -m videogpt_jax.plan --config=configs/scale/prior_1b.py --topology=v5p:2x4x4
  python -m videogpt_jax.main --config=configs/scale/prior_1b.py
  python -m videogpt_jax.main --config=configs/scale/prior_1b.py:64     64 frames, 16,384 codes

docs/scale.md has planned memory, time and cost. Not trained.
"""

from configs.scale import shared
from videogpt_jax.training.sharding import MeshConfig

BATCH_SIZES = {'16': 128, '64': 32}


def get_config(frames: str = '16'):
  return shared.experiment(
    'prior_1b',
    frames,
    shared.prior(hidden_dim=2048, n_layers=20, mlp_dim=5632),
    BATCH_SIZES.get(frames, 1),
    MeshConfig(data=-1, fsdp=8),
  ).to_config_dict()
