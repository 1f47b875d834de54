#!/usr/bin/env bash
# bench.sh WORK OUT [MODEL [LENGTHS]]: reading and answering on the GPU with beacons, in windows of 1,024 and of 896 (with
# echoes just under eight tiles of 128 rows), and with full attention, a JSON line each, in OUT/bench.jsonl. MODEL is a
# checkpoint in WORK's reach; without one SmolLM2 is measured.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
out=${2:?expected a folder for the results} measured=${3:-$model} lengths=${4:-8192,32768,131072}
for what in prefill decode; do
  for beacons in "--ratio 8" "--ratio 8 --window 896" --no-beacons; do
    "$beacon" bench $what -m "$measured" --device cuda --length "$lengths" $beacons --runs 3 --warm-up 1 --json |
      tee -a "$out/bench.jsonl"
  done
done
