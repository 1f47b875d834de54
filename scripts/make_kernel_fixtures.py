#!/usr/bin/env python3
"""Makes tests/data/kernels/: rows of every weight type with the values the `gguf` package reads from them.

Usage: python scripts/make_kernel_fixtures.py tests/data/kernels     (needs numpy and gguf)

The blocks are random bytes, so every bit of a block matters; only their f16 scales are drawn from ordinary numbers.
One file per type: <NAME>.blocks holds the bytes of one row, <NAME>.f32 its values, little-endian floats.
"""
import pathlib
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where the f16 scales and minima of a block lie.
SCALES = {
    "F32": [], "F16": [], "BF16": [], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
ELEMENTS = 512


def make_blocks(name: str, rng: np.random.Generator) -> np.ndarray:
    values = (rng.standard_normal(ELEMENTS) * 3).astype(np.float32)
    if name == "F32":
        return values.view(np.uint8)
    if name == "F16":
        return values.astype(np.float16).view(np.uint8)
    if name == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (ELEMENTS // elements, size), dtype=np.uint8)
    for offset in SCALES[name]:
        scales = (rng.standard_normal(len(blocks)) * 0.1).astype(np.float16)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(-1)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20240907)
    for name in SCALES:
        blocks = make_blocks(name, rng)
        values = np.asarray(dequantize(blocks, GGMLQuantizationType[name]), dtype="<f4").reshape(-1)
        assert values.size == ELEMENTS and np.isfinite(values).all(), name
        (out / f"{name}.blocks").write_bytes(blocks.tobytes())
        (out / f"{name}.f32").write_bytes(values.tobytes())
    print(f"wrote {len(SCALES)} types of {ELEMENTS} elements to {out} with gguf {gguf.__name__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
