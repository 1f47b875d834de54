#!/bin/sh
# The same two calls with the program. Every call of the program begins with an empty memory.
#
#   two_calls.sh MODEL narrativeqa.json [BEACON]
set -eu
model=$1 file=$2 beacon=${3:-beacon}

"$beacon" generate -m "$model" -p "Tell me about yourself." --chat-template none --max-new-tokens 20

# Without a prompt the text itself is continued, so the context is fed exactly as it is.
python3 -c 'import json, sys; sys.stdout.write(json.load(open(sys.argv[1], encoding="utf-8"))["context"])' "$file" |
  "$beacon" generate -m "$model" --context - --max-new-tokens 20
