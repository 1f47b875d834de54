#!/usr/bin/env bash
# clang-tidy on the C++ files that differ from a commit: tidy.sh [COMMIT|all], default HEAD (what is not committed yet).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
command -v clang-tidy >/dev/null || die "expected clang-tidy, found none; run 'make setup-dev'"

base=${1:-HEAD}
if [ "$base" = all ]; then
  files=$(git ls-files 'src/*.cc')
else
  files=$(git diff --name-only --diff-filter=d "$base" -- 'src/*.cc' && git ls-files --others --exclude-standard 'src/*.cc')
fi
[ -n "$files" ] || { say "no file under src/ differs from $base"; exit 0; }

cmake --preset tidy --log-level=WARNING >/dev/null
# shellcheck disable=SC2086
printf '%s\n' $files | xargs -P "$(nproc)" -n 1 clang-tidy -p build/tidy --quiet
