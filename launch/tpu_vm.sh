#!/usr/bin/env bash
# A run on a Cloud TPU slice: requests the slice, installs on all of its hosts, runs, and requests
# another if the slice is taken away. The run resumes from its last checkpoint, which must be in a
# bucket.
#
#   launch/tpu_vm.sh NAME ACCELERATOR ZONE BUCKET [flags of videogpt_jax.main]
#   launch/tpu_vm.sh bair v5litepod-8 us-west4-a gs://my-bucket/bair --config=configs/bair.py \
#       --config.dataset.path=gs://my-bucket/shards/bair
#
# Environment: SPOT=1 for spot capacity (the default; SPOT= for on-demand); RUNTIME, the image of the
# hosts; REPOSITORY and REVISION, what they check out; JAX_COMPILATION_CACHE_DIR, where compiled
# programs are kept for the next start (by default gs://my-bucket/compiled). Needs gcloud, logged in,
# with a project set. docs/scale.md explains all of it.
set -euo pipefail

if (( $# < 4 )); then
  sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
name=$1 accelerator=$2 zone=$3 bucket=$4
shift 4

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPOSITORY=${REPOSITORY:-$(git -C "$here" remote get-url origin)}
REVISION=${REVISION:-$(git -C "$here" rev-parse HEAD)}
SPOT=${SPOT-1}
address=${bucket#gs://}
cache=${JAX_COMPILATION_CACHE_DIR:-gs://${address%%/*}/compiled}
case $accelerator in
  v6e-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv6e} ;;
  v5p-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5} ;;
  v5litepod-*) RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite} ;;
  *) RUNTIME=${RUNTIME:-tpu-ubuntu2204-base} ;;
esac

tpus() { gcloud compute tpus "$@" --zone="$zone" --quiet; }

# Prints the request's state: NONE if there is no request, UNKNOWN if gcloud cannot say now.
state() {
  local said
  if said=$(tpus queued-resources describe "$name" --format='value(state.state)' 2>&1); then
    echo "$said"
  elif [[ $said == *NOT_FOUND* || $said == *'not found'* ]]; then
    echo NONE
  else
    echo "$said" >&2
    echo UNKNOWN
  fi
}

on_all_hosts() { tpus tpu-vm ssh "$name" --worker=all --command="$1"; }

request() {
  local -a capacity=()
  if [[ -n $SPOT ]]; then capacity=(--spot); fi
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$accelerator" \
    --runtime-version="$RUNTIME" "${capacity[@]}"
}

wait_for_slice() {
  while true; do
    case $(state) in
      ACTIVE) return ;;
      NONE) request ;;
      SUSPENDED) tpus queued-resources delete "$name" --force ;;
      FAILED)
        echo "the request failed: gcloud compute tpus queued-resources describe $name --zone=$zone" \
          "says why (quota?); delete it with: ... delete $name --force" >&2
        exit 1
        ;;
      *) sleep 60 ;;
    esac
  done
}

# The hosts' images have Python 3.10, which is too old; uv fetches another. jax.distributed finds
# the other hosts of a slice by itself.
install='set -e
  if [ ! -d videogpt_jax ]; then git clone --quiet '"$(printf %q "$REPOSITORY")"' videogpt_jax; fi
  cd videogpt_jax
  git fetch --quiet && git checkout --quiet '"$(printf %q "$REVISION")"'
  if [ ! -e .venv/installed ]; then
    python3 -m pip install --quiet --user uv
    python3 -m uv venv --quiet --clear --python 3.12 .venv
    python3 -m uv pip install --quiet --python .venv/bin/python -r requirements.lock "jax[tpu]"
    touch .venv/installed
  fi'
run="cd videogpt_jax && JAX_COMPILATION_CACHE_DIR=$(printf %q "$cache")"
run+=" .venv/bin/python -m videogpt_jax.main --workdir=$(printf %q "$bucket")"
for flag in "$@"; do run+=" $(printf %q "$flag")"; done

preempted=75 # training/distributed.py: saved, because the machine is about to be taken away
while true; do
  wait_for_slice
  status=0
  on_all_hosts "$install" && on_all_hosts "$run" || status=$?
  if (( status == 0 )); then
    break
  fi
  sleep 30 # until then a slice that is being taken away does not say so
  if [[ $(state) == @(ACTIVE|UNKNOWN) ]] && (( status != preempted )); then
    echo "the run failed with status $status, but the slice is still there and is kept; look at it" \
      "with: gcloud compute tpus tpu-vm ssh $name --zone=$zone" >&2
    exit "$status"
  fi
  echo "the slice was taken away; requesting another" >&2
done
tpus queued-resources delete "$name" --force
