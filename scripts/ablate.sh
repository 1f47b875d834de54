#!/bin/sh
# Trains the same base with one thing changed at a time, for equally many updates, and evaluates each adapter on the
# same tokens: scripts/ablate.sh RUNS [ARM...]. Arms that are done are not trained again, one that was cut off is, from
# the beginning.
# From the environment: BEACON, MODEL, TRAIN and VALID (books), RECALL (samples of make-data, for the arms recall-N and
# chosen-N with N percent of them), STEPS, BATCH, THREADS, DEVICE, RATIOS, PROMPTS (pass keys asked for at ratio 8).
set -eu
cd "$(dirname "$0")/.."
runs=${1:?folder of the runs}
shift
beacon=${BEACON:-build/release/beacon}
model=${MODEL:-.assets/models/smollm2-135m-instruct.gguf}
train=${TRAIN:-data/books-train}
valid=${VALID:-data/books-valid}
steps=${STEPS:-40}
batch=${BATCH:-1}
threads=${THREADS:-0}
device=${DEVICE:-cpu}
samples=$((steps * batch))

options() {
  case $1 in
    ours) ;;
    recall-*)
      of_recall=$((samples * ${1#recall-} / 100))
      echo "--data ${train}[$((samples - of_recall))],${RECALL:?samples with questions}[$of_recall]" ;;
    chosen-*)
      more=$(options "recall-${1#chosen-}") || exit
      echo "$more --attention chosen-echo" ;;
    distillation) echo "--next-token-weight 0 --distillation-weight 1" ;;
    distillation-*)
      more=$(options "${1#distillation-}") || exit
      echo "$(options distillation) $more" ;;
    mixed) echo "--distillation-weight 1" ;;
    rate-3e-4) echo "--learning-rate 3e-4" ;;
    rate-3e-3) echo "--learning-rate 3e-3" ;;
    gate) echo "--gate 0 --gate-rate 30" ;;
    token) echo "--attention full-coverage --gate -4 --gate-rate 30" ;;
    token-gate-2) echo "--attention full-coverage --gate -2 --gate-rate 30" ;;
    token-no-gate) echo "--attention full-coverage --learning-rate 5e-4" ;;
    token-*)
      more=$(options "${1#token-}") || exit
      echo "$(options token) $more" ;;
    qkvo) echo "--parameters q,k,v,o" ;;
    stride-window) echo "--stride 1024 --sink 0" ;;
    stride-window-sink) echo "--stride 1024" ;;
    append) echo "--placement append --attention full-coverage --gate -4 --gate-rate 30" ;;
    *) echo "ablate.sh: no arm $1" >&2; exit 2 ;;
  esac
}

# value FILE: the figure of what `beacon eval --json` has printed.
value() { tail -n 1 "$1" | sed -E 's/.*"value":([0-9.]+).*/\1/'; }

# evaluate FILE TASK OPTION...: once; what an interrupted evaluation left does not count.
evaluate() {
  file=$1
  shift
  [ -s "$file" ] && return
  "$beacon" eval "$@" -m "$model" -a "$run/last" --data "$valid" --device "$device" --threads "$threads" --json \
    > "$file.tmp" && mv "$file.tmp" "$file"
}

# shellcheck disable=SC2048
for arm in ${*:-ours distillation mixed rate-3e-4 rate-3e-3 gate token token-gate-2 token-no-gate qkvo stride-window stride-window-sink append}; do
  run=$runs/$arm
  chosen=$(options "$arm")
  case $chosen in *--data*) ;; *) chosen="--data $train $chosen" ;; esac
  if [ ! -e "$run/trained" ]; then
    rm -rf "$run"
    # shellcheck disable=SC2086
    "$beacon" train --config configs/smollm2-135m-instruct.json --model "$model" --valid-data "$valid" \
      --run "$run" --cache "$runs/cache" --steps "$steps" --warmup 5 --batch "$batch" --grouping strides --accumulation 1 \
      --recompute false --valid-every 0 --valid-sequences 1 --valid-ratios 8 --checkpoint-every 0 --keep-checkpoints 1 \
      --device "$device" --threads "$threads" $chosen
    touch "$run/trained"
  fi
  for ratio in ${RATIOS:-2 8 32}; do
    evaluate "$run/eval-$ratio.json" perplexity --from 1536 --to 3072 --ratio "$ratio"
    echo "$arm, ratio $ratio: $(value "$run/eval-$ratio.json") nats a token"
  done
  if [ "${PROMPTS:-0}" -gt 0 ]; then
    evaluate "$run/passkey.json" passkey --lengths 2048 --depths 10 --n "$PROMPTS" --ratio 8
    echo "$arm: share of pass keys $(value "$run/passkey.json")"
  fi
done
