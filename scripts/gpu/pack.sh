#!/usr/bin/env bash
# pack.sh FOLDER [MEGABYTES [DATA...]]: what a machine with a GPU needs that has torch 2.11 for CUDA 13 but no network and
# none of our libraries, compressed and in pieces of at most MEGABYTES (of 2^20 bytes, default 38) below FOLDER:
#   program-NN/  beacon, its tests for CUDA, libbeacon_cuda.so, the libraries they load, configurations, test data
#   base-NN/     the default model
#   adapter-NN/  the shipped adapter
#   data-NN/     DATA: training texts, JSONL files or folders of texts
# Send the pieces in any order, one or several at a time; unpack.sh puts them together there. Needs the cuda preset, or
# another build with libbeacon_cuda.so: its folder in BUILD.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$root"
out=${1:?expected a folder to write to}
limit=${2:-38}
data=("${@:3}")
build=${BUILD:-build/cuda}
[ -x "$build/beacon" ] && [ -f "$build/libbeacon_cuda.so" ] || die "expected $build/beacon and $build/libbeacon_cuda.so:" \
  "build them with 'cmake --workflow --preset cuda', or name a build that has them in BUILD"

# Shared libraries of a program, without those of torch and of the C library, which the other machine has.
libraries_of() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libtorch[^/]*|libc10[^/]*|libgomp[^/]*|libcu[^/]*|libc|libm|libdl|librt|libutil|libpthread|libstdc\+\+|libgcc_s)\.so'
}

# pieces NAME < ARCHIVE: NAME-00/part, NAME-01/part, ... and how many they are, in each.
pieces() {
  local count part
  split -b "${limit}M" -d -a 2 - "$out/.$1-"
  count=$(find "$out" -name ".$1-??" | wc -l)
  for part in "$out/.$1-"??; do
    mkdir "$out/$1-${part##*-}"
    mv "$part" "$out/$1-${part##*-}/part"
    echo "$count" >"$out/$1-${part##*-}/count"
  done
}

[ ! -e "$out" ] || [ -d "$out/program-00" ] || die "expected $out to be new or made by this script"
rm -rf "$out"
mkdir -p "$out/program/lib"
strip -o "$out/program/beacon" "$build/beacon"
strip -o "$out/program/test_cuda" "$build/tests/cuda/test_cuda"
cp "$build/libbeacon_cuda.so" "$out/program/"
# shellcheck disable=SC2046
cp $(libraries_of "$build/beacon" "$build/tests/cuda/test_cuda") "$out/program/lib/"
cp -r configs scripts/gpu "$out/program/"
tar -cJ -C "$out/program" . -C "$root" tests/data/golden tests/data/models/gguf_f32 | pieces program
rm -r "$out/program"
tar -chJ .assets/models/smollm2-135m-instruct.gguf | pieces base
tar -cJ models/smollm2-135m-instruct-beacon | pieces adapter
if [ ${#data[@]} -gt 0 ]; then
  members=()
  for source in "${data[@]}"; do
    members+=(-C "$(cd "$(dirname "$source")" && pwd)" "$(basename "$source")")
  done
  tar -chJ "${members[@]}" | pieces data
fi
du -sm "$out"/* >&2
