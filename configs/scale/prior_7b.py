"""A prior of 7 billion parameters on 16 (or 64) frames of 128x128: a v5p slice of 128 chips.

  python -m videogpt_jax.plan --config=configs/scale/prior_7b.py --topology=v5p:4x4x8
  python -m videogpt_jax.main --config=configs/scale/prior_7b.py
  python -m videogpt_jax.main --config=configs/scale/prior_7b.py:64     64 frames, 16,384 codes

docs/scale.md has planned memory, time and cost. Not trained.
"""

from configs.scale import shared
from videogpt_jax.training.sharding import MeshConfig

BATCH_SIZES = {'16': 256, '64': 128}


def get_config(frames: str = '16'):
  return shared.experiment(
    'prior_7b',
    frames,
    shared.prior(hidden_dim=4096, n_layers=34, mlp_dim=11008),
    BATCH_SIZES.get(frames, 1),
    MeshConfig(data=-1, fsdp=32),  # of 128 shares a chip sends twice as much: docs/scale.md
  ).to_config_dict()
