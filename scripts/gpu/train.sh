#!/usr/bin/env bash
# train.sh WORK OUT SECONDS [OPTION...]: trains on WORK/data for SECONDS, or until all steps are done; the next call goes
# on. Leaves the adapter in OUT, in pieces of 15 MB (cat adapter-* | tar -x), with the log. Options go to `beacon train`.
# RUN names one of several runs in WORK; START is the adapter one begins from (default: none); DATA is what --data takes
# (default: everything in WORK/data, folders of texts as sources of their own).
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
out=${2:?expected a folder for the adapter} seconds=${3:?expected a number of seconds}
shift 3
run=$work/${RUN:-run}
everything=$(printf ',%s' "$work/data"/*)
resume=()
[ -d "$run/checkpoints" ] && resume=(--resume)
# Ctrl-C writes a checkpoint and the adapter. In the foreground: else the program gets the signal twice, and the second
# one ends it at once.
status=0
timeout --foreground --signal=INT --kill-after=20 "$seconds" "$beacon" train \
  --config "$work/configs/smollm2-135m-instruct-gpu.json" --model "$model" --run "$run" --adapter "${START:-}" \
  --data "${DATA:-${everything#,}}" --cache "$work/cache" "$@" "${resume[@]}" || status=$?
case $status in 0 | 124 | 130) ;; *) exit $status ;; esac
tar -C "$run" -c last | split -b 15M -d - "$out/adapter-"
cp "$run/log.jsonl" "$out/"
tail -2 "$run/log.jsonl"
