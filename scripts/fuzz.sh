#!/usr/bin/env bash
# Builds the libFuzzer programs and runs each for a number of seconds: fuzz.sh [SECONDS], default 60.
# New inputs are kept in build/fuzz/corpus; a crash leaves its input in build/fuzz/crashes and ends the run.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
command -v clang++ >/dev/null || die "expected clang++, found none; run 'make setup-dev'"

seconds=${1:-60}
cmake --preset fuzz --log-level=WARNING
cmake --build --preset fuzz
mkdir -p build/fuzz/crashes
for program in build/fuzz/fuzz/fuzz_*; do
  [ -x "$program" ] && [ -f "$program" ] || continue
  name=${program##*/fuzz_}
  mkdir -p "build/fuzz/corpus/$name"
  log=build/fuzz/$name.log
  "$program" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -print_final_stats=1 \
    -artifact_prefix=build/fuzz/crashes/"$name"- "build/fuzz/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1 ||
    { tail -40 "$log" >&2; die "fuzz target $name failed; its input is in build/fuzz/crashes"; }
  printf '%-16s %12s runs in %s s\n' "$name" "$(awk '/number_of_executed_units/ {print $2}' "$log")" "$seconds"
done
