"""Writes the novels in an R lazy-load database as text files, without R.

Usage: novels.py Rdata.rdb OUTPUT_FOLDER

The database is a row of records, each a 4-byte big-endian length of the unpacked data and a zlib stream. Unpacked, a
record is an R object in XDR form; ours are character vectors, one string a line of the book. Serialisation version 3:
a header of 14 bytes and a named encoding, then (flags, length, elements), each element (flags, length or -1, bytes).
"""
import re
import struct
import sys
import zlib
from pathlib import Path


def records(data):
    while data:
        (size,) = struct.unpack(">I", data[:4])
        stream = zlib.decompressobj()
        record = stream.decompress(data[4:])
        if len(record) != size:
            sys.exit(f"expected a record of {size} bytes, found {len(record)}")
        yield record
        data = stream.unused_data


def lines(record):
    (encoding_size,) = struct.unpack(">i", record[14:18])
    at = 18 + encoding_size
    flags, count = struct.unpack(">ii", record[at : at + 8])
    if record[:2] != b"X\n" or flags & 0xFF != 16:
        sys.exit("expected an R character vector in XDR form, found something else")
    at += 8
    for _ in range(count):
        size = struct.unpack(">ii", record[at : at + 8])[1]
        at += 8
        yield record[at : at + max(size, 0)].decode("utf-8")
        at += max(size, 0)


def main():
    database, folder = Path(sys.argv[1]), Path(sys.argv[2])
    for record in records(database.read_bytes()):
        text = list(lines(record))
        title = re.sub(r"[^a-z]+", "-", next(line for line in text if line).lower()).strip("-")
        (folder / f"{title}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")


main()
