#!/usr/bin/env bash
# Reads Northanger Abbey (105,509 tokens) with a model made for 8,192, asks a question of the memory, and asks the model
# that has read nothing the same. Window 1024 at ratio a holds (8192 - 1024) a + 1024 tokens; 16 is the smallest ratio that
# the adapter knows and that holds the novel.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

model=.assets/models/smollm2-135m-instruct.gguf
question=${1:-Who is Catherine Morland?}

echo "== $question (read first: Northanger Abbey)"
build/release/beacon generate -m $model -a models/smollm2-135m-instruct-beacon --context .assets/novels/northanger-abbey.txt --ratio 16 -p "$question" --max-new-tokens 100
echo "== $question (nothing read)"
exec build/release/beacon generate -m $model -p "$question" --max-new-tokens 100
