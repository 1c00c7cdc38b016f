"""What stands in a -wal file, seen from outside: would SQLite pass over something that was committed?

SQLite reads a -wal file up to the first frame that does not fit, and takes the rest for what a crash left behind. After a
crash it is: what comes there was never acknowledged. But a -wal file whose beginning is damaged is passed over whole, and
one with a wrong byte in the middle loses all that was committed after it, without a word. Two things tell the one from the other:

- the file's header is on disk before anything else is, so frames behind a header that does not fit mean damage;
- each commit is on disk before the next one begins, so a commit with a frame behind it that goes on from it was acknowledged.

Damage to the newest commit alone looks like a crash; so does a file that was cut off, or taken away. The format:
https://sqlite.org/walformat.html
"""

from __future__ import annotations

import os
import struct

_HEADER, _FRAME = 32, 24
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # which says in what order the words of a checksum are
_VERSION = 3_007_000


def damaged_header(path: str) -> str:
    """Why SQLite would pass over the whole file at `path` though something was written to it; "" when it would not."""
    with open(path, "rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER:
            return ""
        magic, version = struct.unpack(">II", header[:8])
        if magic in _MAGIC and version == _VERSION and _checksum(header[:24], (0, 0), _MAGIC[magic]) == struct.unpack(">II", header[24:]):
            return ""
        while any(header):  # a file that was made longer just before the power went is all zeros
            return "its -wal file does not begin like one; what was committed there would be lost"
        while chunk := file.read(1 << 20):
            if any(chunk):
                return "the beginning of its -wal file is gone; what was committed there would be lost"
    return ""


def passed_over(path: str, taken: int) -> str:
    """Why something behind the `taken` frames that SQLite took was committed; "" when nothing shows that. The header is sound."""
    with open(path, "rb") as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER or not any(header):
            return ""
        magic, _, page, _ = struct.unpack(">4I", header[:16])
        salts, order = header[16:24], _MAGIC[magic]
        count = (os.fstat(file.fileno()).st_size - _HEADER) // (_FRAME + page)
        before: tuple[int, int] | None = None  # the checksum of the frame before, where that ended a commit
        for index in range(taken, count):
            file.seek(_HEADER + index * (_FRAME + page))
            frame = file.read(_FRAME)
            if frame[8:16] != salts:  # of an earlier life of the file, which is in the database already
                before = None
                continue
            checksum = struct.unpack(">II", frame[16:])
            if before is not None and _checksum(frame[:8] + file.read(page), before, order) == checksum:
                return f"its -wal file is damaged at frame {taken + 1:,} of {count:,}; what was committed behind that would be lost"
            before = checksum if any(frame[4:8]) else None
    return ""


def _checksum(data: bytes, seed: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
