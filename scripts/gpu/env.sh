# Sourced by the scripts of this folder: the machine's own torch, and our libraries beside it.
set -euo pipefail
work=${1:?expected the folder that unpack.sh filled}
work=$(cd "$work" && pwd)
torch=$(python3 -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
export LD_LIBRARY_PATH="$torch/lib:$work/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export BEACON_TEST_DATA="$work/tests/data"
model=$work/.assets/models/smollm2-135m-instruct.gguf
adapter=$work/models/smollm2-135m-instruct-beacon
beacon=$work/beacon
