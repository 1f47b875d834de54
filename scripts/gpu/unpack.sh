#!/usr/bin/env bash
# unpack.sh FOLDER WORK: takes what pack.sh made, or those pieces of it that arrived, from FOLDER to WORK; what is complete
# is put together. Again with the pieces that follow.
set -euo pipefail
from=${1:?expected the folder with the pieces} work=${2:?expected a folder to work in}
mkdir -p "$work/pieces"
cp -r "$from"/*-?? "$work/pieces/"

# join NAME FOLDER: all pieces of NAME, once they are there, below WORK/FOLDER.
join() {
  local first=$work/pieces/$1-00 pieces=("$work/pieces/$1-"??)
  [ -f "$first/count" ] && [ ${#pieces[@]} -eq "$(cat "$first/count")" ] || return 0
  mkdir -p "$work/$2"
  cat "${pieces[@]/%//part}" | tar -xJ -C "$work/$2"
  rm -r "${pieces[@]}"
  echo "$1: complete"
}
join program .
join base .
join adapter .
join data data
