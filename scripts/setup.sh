#!/usr/bin/env bash
# Installs what the build needs: Debian packages and the wheels of requirements.txt in a private .venv.
# Quick and offline when everything is there. The package sources are those configured on this machine.
# --dev: also what developers need; --cuda: also torch's CUDA libraries and nvcc.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[ "$(uname -sm)" = "Linux x86_64" ] || die "expected Linux on x86_64, found $(uname -sm): the pinned wheels are for no other system"
install_debian_packages scripts/debian-packages.txt
[ "${1:-}" = --dev ] && install_debian_packages scripts/debian-packages-dev.txt

# The first interpreter of the search path that the pinned wheels exist for.
find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14; do
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
      2>/dev/null && echo "$candidate" && return
  done
  die "expected a Python from 3.11 to 3.14 with venv, found $(python3 --version 2>&1 || true);" \
    "install one (Debian 12 has 3.11) or name it: make setup PYTHON=..."
}

wheels_are_there() {
  [ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null && [ -f .venv/requirements.sha256 ] &&
    sha256sum --status -c .venv/requirements.sha256 && ls .venv/lib/python3*/site-packages/torch/include/ATen/ATen.h \
    >/dev/null 2>&1
}

if ! wheels_are_there; then
  python=$(find_python)
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
  fi
  say "installing the wheels of requirements.txt in .venv (0.6 GB to download the first time)"
  bar=off
  [ -t 2 ] && bar=on
  .venv/bin/python -m pip install --progress-bar "$bar" --disable-pip-version-check --no-input --no-deps \
    --require-hashes --only-binary :all: -r requirements.txt >&2
  sha256sum requirements.txt >.venv/requirements.sha256
fi
if [ "${1:-}" = --cuda ] && ! ls .venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc >/dev/null 2>&1; then
  say "installing torch's CUDA libraries and nvcc in .venv (some 3 GB the first time)"
  .venv/bin/python -m pip install --disable-pip-version-check --no-input --only-binary :all: -r requirements-cuda.txt >&2
fi
say "set up: $(ls -d .venv/lib/python3*/site-packages/torch)"
