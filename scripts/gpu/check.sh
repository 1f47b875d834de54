#!/usr/bin/env bash
# check.sh WORK: everything that needs a GPU to be tested: kernels and operations against their twins, flash attention,
# the golden cases of the original on the GPU, training gradients; then the ceilings of the machine.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
"$work/test_cuda" --gtest_brief=1 || failed=1
"$beacon" parity --device cuda "$work"/tests/data/golden/*/ | tail -3 || failed=1
"$beacon" bench machine --device cuda || failed=1
"$beacon" generate -m "$model" -a "$adapter" --device cuda -p "What is the capital of France?" --max-new-tokens 20 || failed=1
exit "${failed:-0}"
