"""Compares what libbeacon.so exports with the frozen list; with --write renews the list.

Usage: check_exports.py LIBRARY LIST [--write]. Functions and variables count, and the type information that callers need
to catch and cast; copies of inline functions (weak symbols) come and go with the compiler and do not.
"""
import subprocess
import sys
from pathlib import Path


def exported(library):
    output = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--demangle", library], check=True, capture_output=True, text=True
    ).stdout
    names = set()
    for line in output.splitlines():
        _, kind, name = line.split(maxsplit=2)
        if kind in "TDBRi" or name.startswith("typeinfo for "):
            names.add(name.replace("std::__cxx11::", "std::"))
    return names


def main():
    library, path = sys.argv[1], Path(sys.argv[2])
    found = exported(library)
    if "--write" in sys.argv:
        path.write_text("".join(f"{name}\n" for name in sorted(found)), encoding="utf-8")
        return
    frozen = set(path.read_text(encoding="utf-8").splitlines())
    for name in sorted(found - frozen):
        print(f"new: {name}")
    for name in sorted(frozen - found):
        print(f"gone: {name}")
    if found != frozen:
        sys.exit(f"the exports changed; if that is meant, run {sys.argv[0]} {library} {path} --write and commit the list")
    print(f"{len(found)} exports, as frozen")


main()
