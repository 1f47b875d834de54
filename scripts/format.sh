#!/usr/bin/env bash
# Formats every C++ file of ours in place; with --check only says which differ and fails.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
command -v clang-format >/dev/null || die "expected clang-format, found none; run 'make setup-dev'"

mode=(-i)
[ "${1:-}" = --check ] && mode=(--dry-run --Werror)
find include src tests fuzz bench examples -type f \( -name '*.h' -o -name '*.cc' \) -print0 2>/dev/null |
  xargs -0 -r clang-format "${mode[@]}"
