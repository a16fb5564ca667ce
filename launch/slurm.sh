#!/usr/bin/env bash
#SBATCH --job-name=videogpt
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# A run on the GPUs of a Slurm cluster, one process a GPU:
#
#   sbatch [--nodes=4 ...] launch/slurm.sh WORKDIR [flags of videogpt_jax.main]
#   sbatch launch/slurm.sh /shared/runs/bair --config=configs/bair.py
#
# From the checkout, whose .venv must also hold JAX for GPUs: .venv/bin/pip install 'jax[cuda12]'.
# Five minutes before its time is over, or when it is preempted, the job gets a SIGTERM, saves and
# ends with status 75; it is then queued again and goes on from its last checkpoint.
set -euo pipefail

if (( $# < 2 )); then
  echo 'usage: sbatch launch/slurm.sh WORKDIR --config=FILE [...]' >&2
  exit 2
fi
workdir=$1
shift
preempted=75 # training/distributed.py

# JAX reads Slurm's variables, which srun gives each process; nothing is to be set.
status=0
srun --kill-on-bad-exit=1 .venv/bin/python -m videogpt_jax.main --workdir="$workdir" "$@" ||
  status=$?
if (( status == preempted )); then
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
