"""The demo, trained for longer: `pretrained/digits` was made so. Not a row of the paper.

Attention reaches back to the latent frame before. A window as long as a clip would see in play,
where every frame has a past, what it has not seen in training.

  python -m videogpt_jax.main --config=configs/digits.py
  python -m videogpt_jax.play --model=runs/digits
"""

from configs import demo


def get_config():
  config = demo.get_config()
  config.name = 'digits'
  config.dataset.n_train_clips = 48_000
  config.vqvae_training.update({'steps': 1500, 'evaluate_every': 500, 'checkpoint_every': 250})
  config.prior.attn_window = 2
  config.prior_training.update({'steps': 4500, 'evaluate_every': 1000, 'checkpoint_every': 500})
  return config
