"""The demo, trained for longer: `pretrained/digits` was made so. Not a row of the paper.

python -m videogpt_jax.main --config=configs/digits.py
python -m videogpt_jax.play --model=runs/digits
"""

from configs import demo


def get_config():
  config = demo.get_config()
  config.name = 'digits'
  config.dataset.n_train_clips = 48_000
  config.vqvae_training.update({'steps': 1500, 'evaluate_every': 500, 'checkpoint_every': 250})
  config.prior_training.update({'steps': 6000, 'evaluate_every': 1000, 'checkpoint_every': 500})
  return config
