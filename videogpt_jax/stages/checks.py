"""What a run asks of its data set before anything is compiled."""

from videogpt_jax.config import Experiment
from videogpt_jax.errors import UserError


def check_data(experiment: Experiment):
  """Checks that the data set has what the prior is conditioned on; returns what it has.

  Raises:
    UserError: it lacks something, or cannot be read.
  """
  from videogpt_jax.input import contents  # TensorFlow, which only a run needs

  info, prior = contents.describe(experiment.dataset), experiment.prior
  if prior.history and not experiment.prior_codes:
    contents.open_clips(experiment.prior_clips, 'train')
  if experiment.prior_codes:
    contents.check_codes(experiment.prior_codes, prior.n_cond_frames)
  contents.check_conditions(info, prior)
  dataset = experiment.dataset
  if prior.action_dim and dataset.random_flip and not dataset.mirror_actions:
    raise UserError(
      'dataset.random_flip mirrors clips, and the prior is conditioned on actions; say what '
      "becomes of them with dataset.mirror_actions ('0:1 -2': 0 and 1 swap, 2 changes its sign; "
      "'none': nothing), or set dataset.random_flip to False"
    )
  return info
