#!/usr/bin/env python3
"""Writes the weighted mean of two adapters of the same base and the same tensors.

    scripts/average_adapters.py A B SHARE OUT      # (1 - SHARE) A + SHARE B; beacon_config.json is B's

The mean of bf16 numbers is rounded to f32, then to nearest even; all other tensors must be equal in both.
"""

import argparse
import json
import shutil
import struct
import sys
from array import array
from pathlib import Path


def load(folder):
    """(header, bytes of the tensors) of a safetensors file."""
    path = folder / "beacon.safetensors"
    try:
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        return json.loads(data[8 : 8 + size]), data[8 + size :]
    except (OSError, struct.error, ValueError) as error:
        sys.exit(f"{path}: expected an adapter's tensors: {error}")


def floats(words):
    """bf16 words as floats."""
    return array("f", array("I", (word << 16 for word in array("H", words))).tobytes())


def words(values):
    """Floats as bf16 words, rounded to nearest even."""
    bits = array("I", array("f", values).tobytes())
    return array("H", ((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits)).tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("a", "b"):
        parser.add_argument(name, type=Path)
    parser.add_argument("share", type=float, help="of B, from 0 to 1")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    if not 0 <= args.share <= 1:
        parser.error(f"share: expected a number from 0 to 1, found {args.share}")
    header_a, a = load(args.a)
    header, b = load(args.b)
    if header_a.keys() - header.keys():
        sys.exit(f"{args.b} lacks {', '.join(sorted(header_a.keys() - header.keys()))}")
    result = bytearray(b)
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        other = header_a.get(name, {})
        if any(other.get(key) != tensor[key] for key in ("dtype", "shape")):
            sys.exit(f"{name}: expected the same type and shape in both adapters, found {other} and {tensor}")
        from_a = a[slice(*other["data_offsets"])]
        from_b = b[slice(*tensor["data_offsets"])]
        if tensor["dtype"] == "BF16":
            mean = ((1 - args.share) * x + args.share * y for x, y in zip(floats(from_a), floats(from_b)))
            result[slice(*tensor["data_offsets"])] = words(mean)
        elif from_a != from_b:
            sys.exit(f"{name}: {tensor['dtype']} is not averaged, and the adapters differ")
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (args.out / "beacon.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(result))
    shutil.copy(args.b / "beacon_config.json", args.out)


if __name__ == "__main__":
    main()
