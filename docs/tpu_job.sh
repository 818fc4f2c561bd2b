#!/usr/bin/env bash
# One training run on a Cloud TPU, by name: see docs/cloud_tpu.md.
#
#   docs/tpu_job.sh create     make the slice, and install on all its workers
#   docs/tpu_job.sh run        start the run, or go on with it, and watch it
#   docs/tpu_job.sh resume     delete what is left of a preempted slice, create,
#                              and run, again and again until the run is over
#   docs/tpu_job.sh delete     delete the slice
#
# What is named here can be set in the environment.
set -euo pipefail

: "${TPU:=d2v}"
: "${ZONE:=us-central2-b}"
: "${TYPE:=v4-32}"
: "${IMAGE:=tpu-ubuntu2204-base}"
: "${SPOT:=--spot}"             # SPOT= for one that is not preempted
: "${CLONE:?set it to the URL of a clone of d2v_jax}"
: "${BUCKET:?set it to gs://your-bucket, in the region of ZONE}"
: "${RUN:=vit_base}"            # name of the run, in BUCKET/runs
: "${CONFIG:=vit_base}"
# More flags of d2v train, as one text.
: "${FLAGS:=--config.data.source.data_dir=$BUCKET/tfds}"

tpu() {
  local what=$1
  shift
  gcloud compute tpus tpu-vm "$what" "$TPU" --zone="$ZONE" "$@"
}

on_all_workers() {
  tpu ssh --worker=all --command="$1"
}

create() {
  # shellcheck disable=SC2086  # none, or one flag
  tpu create --accelerator-type="$TYPE" --version="$IMAGE" $SPOT
  on_all_workers "
    set -e
    git clone $CLONE d2v_jax
    cd d2v_jax
    python3 -m venv .venv
    .venv/bin/pip install -q -e '.[tpu,gcs]'"
}

# Ends with the status of d2v train: of its workers' the one that says most.
run() {
  local log statuses status
  log=$(mktemp)
  # Of several workers gcloud does not tell how each has ended.
  on_all_workers "
    cd d2v_jax
    export JAX_COMPILATION_CACHE_DIR=$BUCKET/compiled
    .venv/bin/d2v train $CONFIG --distributed --workdir=$BUCKET/runs/$RUN $FLAGS
    echo d2v_status=\$?" | tee "$log" || true
  statuses=$(sed -n 's/.*d2v_status=\([0-9]*\).*/\1/p' "$log" | sort -un)
  rm "$log"
  for status in 1 2 3 4; do
    if grep -qx "$status" <<< "$statuses"; then return "$status"; fi
  done
  if [[ -z $statuses ]]; then return 75; fi # the connection was lost
  return "$(tail -n 1 <<< "$statuses")"
}

delete() {
  tpu delete --quiet
}

resume() {
  local status
  while true; do
    if [[ $(tpu describe --format='value(state)' 2> /dev/null) != READY ]]; then
      delete || true # there may be none
      create
    fi
    status=0
    run || status=$?
    case $status in
      0) break ;;
      1 | 2 | 3 | 4) return "$status" ;; # somebody has to look: docs/running.md
      *) echo "ended with $status; going on" >&2 ;;
    esac
    sleep "${PAUSE:-60}"
  done
}

case ${1:-} in
  create | run | resume | delete) "$1" ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
