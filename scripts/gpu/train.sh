#!/usr/bin/env bash
# train.sh WORK OUT SECONDS [OPTION...]: trains from the shipped adapter, or goes on where the last call stopped, for
# SECONDS or until STEPS (4000) updates are done; then leaves the adapter in OUT, in pieces of 15 MB (cat adapter-* |
# tar -x), with the log. Options go to `beacon train`. Data: the books, and recall samples that the first call makes of
# them on all cores.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
out=${2:?expected a folder for the adapter} seconds=${3:?expected a number of seconds}
shift 3
deadline=$((SECONDS + seconds))
run=$work/run
if [ ! -f "$work/samples.done" ]; then
  mkdir -p "$work/samples"
  makers=()
  for seed in $(seq 1 "$(nproc)"); do
    "$beacon" train make-data -m "$model" --books "$work/books" --samples "${SAMPLES:-1500}" --recall 0.9 \
      --tasks dense,dense,dense,passkey,passkey,key-value,several,continue,reconstruct --min-length 1500 \
      --max-length 8000 --seed "$seed" -o "$work/samples/$seed.jsonl" >/dev/null 2>"$work/samples/$seed.log" &
    makers+=($!)
  done
  for maker in "${makers[@]}"; do
    wait "$maker" || { tail -n 2 "$work"/samples/*.log >&2; exit 1; }
  done
  touch "$work/samples.done"
fi
left=$((deadline - SECONDS - 30))
[ $left -gt 0 ] || { echo "error: making samples took all of the $seconds seconds; call again" >&2; exit 1; }
resume=()
[ -d "$run/checkpoints" ] && resume=(--resume)
# Ctrl-C writes a checkpoint; the rest of the time is for the export. In the foreground: else the program gets the
# signal twice, and the second one ends it at once.
options=(--config "$work/configs/smollm2-135m-instruct-gpu.json" --model "$model" --adapter "$adapter" --run "$run"
  --data "$work/samples,$work/books*0.05" "$@")
status=0
timeout --foreground --signal=INT --kill-after=20 $left "$beacon" train "${options[@]}" \
  --steps "${STEPS:-4000}" "${resume[@]}" || status=$?
case $status in 0 | 124 | 130) ;; *) exit $status ;; esac
step=$(ls "$run/checkpoints" | sed -n 's/^step-0*\([0-9][0-9]*\)\.safetensors$/\1/p' | sort -n | tail -1)
# At its last step a run writes the adapter and ends.
timeout --foreground 60 "$beacon" train "${options[@]}" --resume --steps "$step"
tar -C "$run" -c last | split -b 15M -d - "$out/adapter-"
cp "$run/log.jsonl" "$out/"
tail -3 "$run/log.jsonl"
