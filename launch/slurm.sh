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
# A run on the GPUs of a Slurm cluster, one process per GPU:
#
#   sbatch [--nodes=4 ...] launch/slurm.sh WORKDIR [flags of videogpt_jax.main]
#   sbatch launch/slurm.sh /shared/runs/bair --config=configs/bair.py
#
# Submit it from the checkout, whose .venv must also hold JAX for GPUs:
# .venv/bin/pip install -r requirements.lock 'jax[cuda13]'. Five minutes before its time limit, or
# when it is preempted, the job gets a SIGTERM, saves and ends with status 75; it is then requeued
# and resumes from its last checkpoint. Compiled programs are kept beside WORKDIR for the next start;
# JAX_COMPILATION_CACHE_DIR names another folder, or a bucket.
set -euo pipefail

if (( $# < 2 )); then
  echo 'usage: sbatch launch/slurm.sh WORKDIR --config=FILE [...]' >&2
  exit 2
fi
workdir=$1
shift
preempted=75 # training/distributed.py

export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$(dirname "$workdir")/compiled}

# srun gives each process Slurm's variables, which tell JAX about the others.
status=0
srun --kill-on-bad-exit=1 .venv/bin/python -m videogpt_jax.main --workdir="$workdir" "$@" ||
  status=$?
if (( status == preempted )); then
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$status"
