#!/usr/bin/env bash
# Tests and times the library on a machine with one GPU, in eight minutes.
#
#   benchmarks/device.sh OUT               on a GPU
#   benchmarks/device.sh --rehearse OUT    on a CPU, at small sizes
#
# The machine needs no network, but what the library and torch and transformers
# need must be installed; PYTHON names the interpreter, else it is python3. The
# folder OUT receives device.json, with the device's name and every number, and
# train_step_MODEL.json and a log of each part. A part that fails, or that eight
# minutes leave no time for, is named in device.json, and the exit status is 1;
# a second call with the same OUT does what the first one has not.
set -uo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2
  exit 2
}

rehearse=false
if [ "${1:-}" = --rehearse ]; then
  rehearse=true
  shift
fi
[ $# -eq 1 ] && [ "${1#-}" = "$1" ] || usage
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1
# Both frameworks are on the one GPU: neither takes all of its memory at once.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
# Seconds: until everything must be over, for the summary, and for one part.
budget=480
summary=15
longest=150

# Steps: a model of train_step and its size. Plans: what names the step, and the
# same step for `d2v plan`, without the dropout that train_step leaves out.
if $rehearse; then
  platforms=cpu
  # PyTorch compiles for a CPU in minutes: one small network is enough.
  steps=(
    "text_tiny --batch 2 --tokens 128 --compile"
    "speech_tiny --batch 1 --seconds 0.5"
    "vit_tiny_d2v2 --batch 1"
  )
  plans=(
    "text_tiny text_base --device=cpu --per_device=2 --length=128
      --config.encoder.width=64 --config.encoder.depth=2
      --config.encoder.num_heads=4 --config.encoder.vocab_size=1000
      --config.encoder.dropout=0.0 --config.encoder.attention_dropout=0.0
      --config.objective.targets.top_k=2 --config.compute_dtype=float32"
  )
  repeats=1
  export JAX_DISABLE_MOST_OPTIMIZATIONS=1
else
  platforms=cuda,cpu
  steps=(
    "vit_base --batch 128 --compile"
    "text_base --batch 32 --tokens 512 --compile"
    "speech_base --batch 8 --seconds 20 --compile"
    "vit_base_d2v2 --batch 32 --compile"
  )
  plans=(
    "vit_base vit_base --device=h100:1 --per_device=128
      --config.encoder.drop_path=0.0 --config.encoder.attention_dropout=0.0"
    "text_base text_base --device=h100:1 --per_device=32 --length=512
      --config.encoder.dropout=0.0 --config.encoder.attention_dropout=0.0"
    "speech_base speech_base --device=h100:1 --per_device=8 --length=320000
      --config.encoder.dropout=0.0 --config.encoder.attention_dropout=0.0
      --config.encoder.layer_drop=0.0"
    "vit_base_d2v2 vit_base_d2v2 --device=h100:1 --per_device=32"
  )
  repeats=5
  # The tests would leave out most optimizations, as they do on a CPU.
  export JAX_DISABLE_MOST_OPTIMIZATIONS=0
fi
export JAX_PLATFORMS=$platforms

kind=$("$python" -c "
import jax, torch, transformers
import d2v_jax.training.build
device = jax.devices()[0]
if device.platform == 'cpu' and 'cuda' in '$platforms':
  raise SystemExit('there is no GPU: --rehearse runs on a CPU')
print(device.device_kind)
") || exit 2
echo "$kind"
case $kind in
  *H100* | cpu) ;;
  *) plans=() ;; # of other GPUs `d2v plan` knows nothing
esac

parts=$out/parts.tsv
touch "$parts"

# part NAME COMMAND...: runs it within what is left of the time, if no call has.
part() {
  local name=$1 begin=$SECONDS status=0
  local left=$((budget - summary - SECONDS))
  shift
  ! grep -q -P "^$name\t0\t" "$parts" || return 0
  [ "$left" -le "$longest" ] || left=$longest
  if [ "$left" -lt 5 ]; then
    status=124 # as `timeout` says it
  else
    timeout --kill-after=5 "$left" "$@" >"$out/$name.log" 2>&1 || status=$?
  fi
  printf '%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - begin))" >>"$parts"
  echo "$name: status $status, $((SECONDS - begin)) s"
}

# Nothing is timed yet: the planned steps are compiled beside the tests.
for plan in "${plans[@]}"; do
  read -r -d '' -a words <<<"$plan"
  part "plan_${words[0]}" "$python" -m d2v_jax plan "${words[@]:1}" --json &
done
mapfile -t tests < <(grep -rl --include='*_test.py' 'mark\.gpu' tests)
# Most of their time is compilation: four processes share the GPU.
part tests "$python" -m pytest -q -n 4 -m gpu "${tests[@]}"
wait
for step in "${steps[@]}"; do
  read -r -a words <<<"$step"
  model=${words[0]}
  part "train_step_$model" "$python" -m benchmarks.train_step \
    --model "${words[@]}" --repeats "$repeats" \
    --out "$out/train_step_$model.json"
done
"$python" -m benchmarks.device_summary "$out"
