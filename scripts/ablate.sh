#!/bin/sh
# Trains the same base with one thing changed at a time, for equally many tokens, and evaluates each adapter on the
# same tokens: scripts/ablate.sh RUNS [ARM...]. Arms that are done are not trained again; a line for each at the end.
set -eu
cd "$(dirname "$0")/.."
runs=${1:?folder of the runs}
shift
beacon=${BEACON:-build/release/beacon}
model=${MODEL:-.assets/models/smollm2-135m-instruct.gguf}
train=${TRAIN:-data/books-train}
valid=${VALID:-data/books-valid}
steps=${STEPS:-40}
threads=${THREADS:-0}

options() {
  case $1 in
    ours) ;;
    distillation) echo "--next-token-weight 0 --distillation-weight 1" ;;
    distillation-*) echo "$(options distillation) $(options "${1#distillation-}")" ;;
    mixed) echo "--distillation-weight 1" ;;
    rate-3e-4) echo "--learning-rate 3e-4" ;;
    rate-3e-3) echo "--learning-rate 3e-3" ;;
    token) echo "--attention full-coverage --gate -4 --gate-rate 30" ;;
    token-gate-2) echo "--attention full-coverage --gate -2 --gate-rate 30" ;;
    token-no-gate) echo "--attention full-coverage --learning-rate 5e-4" ;;
    token-*) echo "$(options token) $(options "${1#token-}")" ;;
    qkvo) echo "--parameters q,k,v,o" ;;
    stride-window) echo "--stride 1024 --sink 0" ;;
    stride-window-sink) echo "--stride 1024" ;;
    append) echo "--placement append --attention full-coverage --gate -4 --gate-rate 30" ;;
    *) echo "ablate.sh: no arm $1" >&2; exit 2 ;;
  esac
}

for arm in ${*:-ours distillation mixed rate-3e-4 rate-3e-3 token token-gate-2 token-no-gate qkvo stride-window stride-window-sink append}; do
  run=$runs/$arm
  chosen=$(options "$arm")
  if [ ! -d "$run/last" ]; then
    # shellcheck disable=SC2086
    "$beacon" train --config configs/smollm2-135m-instruct.json --model "$model" --data "$train" --valid-data "$valid" \
      --run "$run" --cache "$runs/cache" --steps "$steps" --warmup 5 --accumulation 1 --recompute false \
      --valid-every 0 --valid-sequences 1 --valid-ratios 8 --checkpoint-every 0 --keep-checkpoints 1 --threads "$threads" $chosen
  fi
  for ratio in ${RATIOS:-2 8 32}; do
    [ -s "$run/eval-$ratio.json" ] || "$beacon" eval perplexity -m "$model" -a "$run/last" --data "$valid" \
      --from 1536 --to 3072 --ratio "$ratio" --threads "$threads" --json > "$run/eval-$ratio.tmp"
    [ ! -e "$run/eval-$ratio.tmp" ] || mv "$run/eval-$ratio.tmp" "$run/eval-$ratio.json"
    printf '%s, ratio %s: %s nats a token\n' "$arm" "$ratio" \
      "$(tail -n 1 "$run/eval-$ratio.json" | sed -E 's/.*"value":([0-9.]+).*/\1/')"
  done
done
