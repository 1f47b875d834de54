"""Checks that the per-ISA objects of the kernels define nothing that another object could be linked to by accident.

Usage: check_symbols.py NM OBJECT...
Every C++ symbol an object defines for others must lie in a namespace cpu_<isa> of its own, and none may be weak: of a
weak function (any inline function of a header) the linker keeps one copy, maybe the one with AVX512 code.
"""
import re
import subprocess
import sys


def offences(nm, path):
    isa = re.search(r"beacon_kernels_(\w+)\.dir", path).group(1)
    listing = subprocess.run([nm, "--defined-only", path], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        kind, name = line.split()[-2:]
        if not name.startswith("_Z"):
            continue
        if kind in "WVuw":
            yield f"{path}: weak symbol {name}"
        elif kind.isupper() and f"cpu_{isa}" not in name:
            yield f"{path}: {name} is not in namespace cpu_{isa}"


def main():
    nm, objects = sys.argv[1], sys.argv[2:]
    found = [offence for path in objects for offence in offences(nm, path)]
    print("\n".join(found) or f"{len(objects)} objects are clean")
    return 1 if found or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
