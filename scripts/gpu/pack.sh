#!/usr/bin/env bash
# pack.sh FOLDER [MEGABYTES [BOOKS]]: what a machine with a GPU needs that has torch 2.11 for CUDA 13 but no network and
# none of our libraries, in folders of at most MEGABYTES (of 2^20 bytes, default 38) below FOLDER:
#   program/   beacon, its tests for CUDA, libbeacon_cuda.so, the Debian libraries they load, configurations, test data
#   base-NN/   pieces of the default model and of the shipped adapter
#   books-NN/  pieces of a folder of training texts (BOOKS), compressed
# Send the folders in any order, one or several at a time; unpack.sh puts them together there. Needs the cuda preset.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
out=${1:?expected a folder to write to}
limit=${2:-38}
books=${3:-}
build=build/cuda
[ -x $build/beacon ] && [ -f $build/libbeacon_cuda.so ] || die "expected $build/beacon and $build/libbeacon_cuda.so:" \
  "build them with 'cmake --workflow --preset cuda' or copy a build made with BEACON_CUDA=ON there"

# Shared libraries of a program, without those of torch and of the C library, which the other machine has.
libraries_of() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libtorch[^/]*|libc10[^/]*|libgomp[^/]*|libcu[^/]*|libc|libm|libdl|librt|libutil|libpthread|libstdc\+\+|libgcc_s)\.so'
}

# pieces NAME < STREAM: NAME-00/part, NAME-01/part, ... of at most `limit` megabytes.
pieces() {
  split -b "${limit}M" -d -a 2 --filter='mkdir -p "$(dirname "$FILE")" && cat >"$FILE"' - "$out/.$1-"
  local part
  for part in "$out/.$1-"??; do
    mkdir -p "$out/$1-${part##*-}" && mv "$part" "$out/$1-${part##*-}/part"
  done
  ls -d "$out/$1-"?? | wc -l >"$out/program/$1.count"
}

[ ! -e "$out" ] || [ -d "$out/program" ] || die "expected $out to be new or made by this script"
rm -rf "$out"
mkdir -p "$out/program/lib"
strip -o "$out/program/beacon" $build/beacon
strip -o "$out/program/test_cuda" $build/tests/cuda/test_cuda
cp $build/libbeacon_cuda.so "$out/program/"
cp $(libraries_of $build/beacon $build/tests/cuda/test_cuda) "$out/program/lib/"
cp -r configs scripts/gpu "$out/program/"
tar -cJf "$out/program/tests.tar.xz" tests/data/golden tests/data/models
tar -ch .assets/models/smollm2-135m-instruct.gguf models/smollm2-135m-instruct-beacon | pieces base
[ -z "$books" ] || tar -C "$books" -cJ . | pieces books
du -sm "$out"/* >&2
