#!/usr/bin/env bash
# unpack.sh FOLDER WORK: takes what pack.sh made, or those parts of it that arrived, from FOLDER to WORK; what is complete
# is put together. Again with the parts that follow.
set -euo pipefail
from=${1:?expected the folder with the pieces} work=${2:?expected a folder to work in}
mkdir -p "$work/pieces"
cp -r "$from"/* "$work/pieces/"
[ -d "$work/pieces/program" ] || exit 0

# join NAME COMMAND...: all pieces of NAME through the command, once they are there.
join() {
  local name=$1 count
  shift
  [ -f "$work/pieces/program/$name.count" ] || return 0
  count=$(cat "$work/pieces/program/$name.count")
  [ "$(ls -d "$work/pieces/$name-"?? 2>/dev/null | wc -l)" -eq "$count" ] || return 0
  cat "$work/pieces/$name-"??/part | "$@"
  rm -r "$work/pieces/$name-"??
  echo "$name: complete"
}
cp -r "$work/pieces/program/." "$work/"
tar -C "$work" -xJf "$work/tests.tar.xz"
join base tar -C "$work" -x
mkdir -p "$work/books"
join books tar -C "$work/books" -xJ
