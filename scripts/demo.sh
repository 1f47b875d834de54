#!/usr/bin/env bash
# Reads Northanger Abbey (105,509 tokens) with a model made for 8,192 and answers from the memory.
# Window 1024 at ratio a holds (8192 - 1024) a + 1024 tokens, so 15 is the smallest ratio that holds the novel.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

exec build/release/beacon generate -m .assets/models/smollm2-135m-instruct.gguf --context .assets/novels/northanger-abbey.txt --window 1024 --ratio 15 -p "${1:-Who is Catherine Morland?}" --max-new-tokens 100
